"""From the YAML of one of a recipe's `vectors` to a vector."""

from dataclasses import replace

from gateway.core.http.received import ReceivedRequest, guess_body_kind
from gateway.core.http.request import Secret
from gateway.core.http.text import read_raw
from gateway.core.http.url import split_url
from gateway.core.moments import NS
from gateway.core.recipe.keyring import Credential
from gateway.proof.vectors import Vector
from gateway.specs.schema.recipe_parts import RecipeParts
from gateway.specs.yaml.nodes import Path


def build_vector(parts: RecipeParts, index: int) -> Vector | None:
    spec = parts.spec.vectors[index]
    path: Path = ["vectors", index]
    key = "request"
    try:
        request, _ = read_raw(spec.request.encode())
        key = "url"
        url = None if spec.url is None else split_url(spec.url)
    except ValueError as error:
        parts.document.error([*path, key], str(error))
        return None
    request = request if url is None else replace(request, scheme=url.scheme)
    message = ReceivedRequest(request, guess_body_kind(request))
    credential = Credential(Secret(spec.secret), spec.key)
    return Vector(
        spec.vector, spec.source, message, credential, int(spec.now * NS), spec.given, spec.string_to_sign or ""
    )
