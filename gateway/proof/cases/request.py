"""Makes the request of a case, signed as a reporter of the route signs it."""

import re
from collections.abc import Mapping
from typing import Any

from gateway.core.http.request import Request, Secret
from gateway.core.http.text import parse_request
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.session_tokens import issue_token
from gateway.core.recipe.sign import SigningContext, sign
from gateway.core.recipe.verify import Verifier
from gateway.core.vendor.provider import RequestForm
from gateway.core.vendor.route import Route
from gateway.core.vendor.routing import make_snapshot
from gateway.proof.cases.parts import Mismatch, stage

ENTROPY = bytes(range(16))


def request_of(source: str | Mapping[str, Any], route: Route, *, now_ns: int) -> Request:
    """Return a request from raw HTTP or from its parts, which are signed. Raises Mismatch."""
    if isinstance(source, str):
        try:
            return parse_request(source.encode())[0]
        except ValueError as error:
            raise Mismatch(f"request: {error}") from error
    needed = {name: name for name in route.source.provider.needs}
    stated = {**needed, **route.source.given, **source.get("given", {})}
    given = {name: str(value) for name, value in stated.items()}
    if not route.source.receive.requests:
        raise Mismatch(f"request: {route.source.provider.name} has no `receive`")
    unsigned = _unsigned(source, route.source.receive.requests[0], given)
    with stage("request"):
        verifier = _verifier(unsigned, route, source.get("sign"))
        if verifier is None:
            return unsigned.render()
        credential = _credential(verifier, now_ns)
        return sign(unsigned, verifier.recipe, credential, given, SigningContext(now_ns, ENTROPY)).request


def _unsigned(parts: Mapping[str, Any], form: RequestForm, given: Mapping[str, str]) -> UnsignedRequest:
    kind: Any = next((kind for kind in ("json", "form", "text") if kind in parts), "none")
    headers = [(name, str(value)) for name, value in parts.get("headers", {}).items()]
    return UnsignedRequest(
        method=parts.get("method", form.method),
        scheme="http",
        host=next((value for name, value in headers if name.lower() == "host"), "gateway.example"),
        path=parts.get("path") or re.sub(r"\{(\w+)\}", lambda name: given.get(name[1], name[1]), form.path),
        query=tuple(parts.get("query", {}).items()),
        headers=tuple(header for header in headers if header[0].lower() != "host"),
        body_kind=kind,
        body=tuple(parts["form"].items()) if kind == "form" else parts.get(kind),
    )


def _verifier(unsigned: UnsignedRequest, route: Route, recipe: str | None) -> Verifier | None:
    """Return the verifier of the named recipe, or the first one for this call."""
    match = make_snapshot([route]).match(unsigned.render())
    verifiers = route.source.verifiers
    if match is not None and match.form is not None and match.form.local_call is not None:
        verifiers = route.source.local_verifiers[match.form.name]
    found = [verifier for verifier in verifiers or () if recipe in (None, verifier.recipe.name)]
    if not found and recipe is not None:
        raise Mismatch(f"request: no recipe is named {recipe!r}")
    return found[0] if found else None


def _credential(verifier: Verifier, now_ns: int) -> Credential:
    """Return a credential of the route that the verifier accepts, or a session of an account. Raises Mismatch."""
    own = [Credential(secrets[0], key) for key, secrets in verifier.keyring.by_key.items()]
    own += [Credential(secret) for secret in verifier.keyring.by_digest.values()]
    if not own:
        account = next(account for accounts in verifier.accounts.values() for account in accounts)
        token, _ = issue_token(account, now_ns=now_ns, lifetime_s=account.lifetime_s, entropy=ENTROPY)
        return Credential(Secret(token))
    for slot in own[0].misfits(verifier.recipe):
        what = f"{verifier.recipe.name} takes only {slot.chars} for its slot {slot.name!r}"
        raise Mismatch(f"request: {what}, which excludes the credential of this case")
    return own[0]
