"""Finds what a recipe protects: a signed sample is altered part by part, and each alteration is verified."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from gateway.core.http.received import BodyKind, ReceivedRequest
from gateway.core.http.request import Request, Secret, without_headers
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.errors import GatewayError, SpecError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.keyring import Credential, make_keyring
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.sign import SigningContext, sign
from gateway.core.recipe.verify import NoReplayCheck, Verifier, verify

# For each kind: a body, its Content-Type, and an alteration that keeps the parameters of the signature.
BODIES: Mapping[BodyKind, tuple[Any, str, Callable[[bytes], bytes]]] = {
    "json": ({"a": 1}, "application/json", lambda body: body[:-1] + b',"zz":1}'),
    "form": ((("a", "1"),), "application/x-www-form-urlencoded", lambda body: body + b"&zz=1"),
    "text": ("a=1", "text/plain", lambda body: b"b=2"),
}
PARTS = (
    *("method", "path", "query", "host", "content-type", "another header"),
    *(f"{kind} body" for kind in BODIES),
)
NOW_NS = 1_700_000_000_000_000_000


def coverage(recipe: Recipe, secret: Secret | None = None) -> dict[str, bool | None]:
    """Return what the recipe protects of a POST with a query, a body and an unrelated header: whether an altered part
    is rejected, or None if the recipe cannot sign such a body.

    `secret` is the key for recipes that need a special one, such as RSA. Raises SpecError if signing fails.
    """
    credential = Credential(secret or Secret("a-secret"), "a-key" if recipe.key else None)
    verifier = Verifier(recipe, make_keyring([credential]), {})
    found: dict[str, bool | None] = dict.fromkeys(PARTS)
    for kind in BODIES:
        places = {"json": {"json"}, "form": {"form"}, "param": {"json", "form"}}
        if not all(kind in places.get(carrier.place, BODIES) for carrier in recipe.carriers):
            continue
        request = _signed_sample(recipe, credential, kind)
        if not _accepts(verifier, request, kind):
            raise SpecError.of(Reason.INTERNAL, f"{recipe.name} rejects a request that it signed itself")
        for part, altered in _alterations(request, kind).items():
            if found[part] is None:
                found[part] = not _accepts(verifier, altered, kind)
    return found


def _signed_sample(recipe: Recipe, credential: Credential, kind: BodyKind) -> Request:
    body, content_type, _ = BODIES[kind]
    draft = UnsignedRequest(
        method="POST",
        scheme="https",
        host="host.example",
        path="/v1/report",
        query=(("q", "1"),),
        headers=(("Content-Type", content_type), ("X-Other", "1")),
        body_kind=kind,
        body=body,
    )
    given = {slot.name: slot.default or "given" for slot in recipe.given}
    return sign(draft, recipe, credential, given, SigningContext(NOW_NS, bytes(range(16)))).request


def _alterations(request: Request, kind: BodyKind) -> dict[str, Request]:
    def with_header(name: str, value: str) -> Request:
        return replace(request, headers=(*without_headers(request.headers, name.lower()), (name, value)))

    return {
        "method": replace(request, method="PUT"),
        "path": replace(request, target=request.target.replace("/v1/report", "/v1/other")),
        "query": replace(request, target=request.target + "&zz=1"),
        "host": with_header("Host", "other.example"),
        "content-type": with_header("Content-Type", "application/octet-stream"),
        "another header": with_header("X-Other", "2"),
        f"{kind} body": replace(request, body=BODIES[kind][2](request.body)),
    }


def _accepts(verifier: Verifier, request: Request, kind: BodyKind) -> bool:
    try:
        verify(ReceivedRequest(request, kind), [verifier], now_ns=NOW_NS, replays=NoReplayCheck())
    except GatewayError:
        return False
    return True
