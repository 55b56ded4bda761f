"""What a recipe protects, found out: a sample is signed, each part of it altered, and each alteration verified."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gateway.core.http.received import BodyKind, ReceivedRequest
from gateway.core.http.request import Request, Secret
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.errors import GatewayError, SpecError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.keyring import Credential, make_keyring
from gateway.core.recipe.model import GivenSlot, Recipe
from gateway.core.recipe.sign import SigningContext, sign
from gateway.core.recipe.verify import NoReplayCheck, Verifier, verify

# Of each kind a body, its Content-Type, and the body altered: it keeps what it carries for the signature.
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


@dataclass(frozen=True, slots=True)
class Protection:
    """One part of a request, and whether the scheme notices that it was altered.

    None is for a body that has no place for what the scheme puts there.
    """

    part: str
    protected: bool | None


def coverage(recipe: Recipe, secret: Secret | None = None) -> list[Protection]:
    """Return what the recipe protects of a POST with a query, a body and a header of no meaning.

    `secret` is the key for schemes that need a certain form of it. Raises SpecError where the sample cannot be signed.
    """
    credential = Credential(secret or Secret("a-secret"), "a-key" if recipe.needs_key else None)
    check = Verifier(recipe, make_keyring([credential]), {})
    found: dict[str, bool] = {}
    for kind in BODIES:
        if not _has_place(recipe, kind):
            continue
        request = _signed_sample(recipe, credential, kind)
        if not _accepts(check, request, kind):
            raise SpecError.of(Reason.INTERNAL, f"{recipe.name} refuses what it signed itself")
        for part, altered in _alterations(request, kind):
            found.setdefault(part, not _accepts(check, altered, kind))
    return [Protection(part, found.get(part)) for part in PARTS]


def _has_place(recipe: Recipe, kind: BodyKind) -> bool:
    """Tell whether a body of this kind has a place for what the recipe carries in bodies."""
    kinds = {"json": {"json"}, "form": {"form"}, "param": {"json", "form"}}
    return all(kind in kinds.get(carrier.place, BODIES) for carrier in recipe.carriers)


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
    given = {name: slot.default or "given" for name, slot in recipe.slots.items() if isinstance(slot, GivenSlot)}
    return sign(draft, recipe, credential, given, SigningContext(NOW_NS, bytes(range(16)))).request


def _alterations(request: Request, kind: BodyKind) -> Iterator[tuple[str, Request]]:
    alter = BODIES[kind][2]
    yield "method", replace(request, method="PUT")
    yield "path", replace(request, target=request.target.replace("/v1/report", "/v1/other"))
    yield "query", replace(request, target=request.target + "&zz=1")
    yield "host", _with_header(request, "Host", "other.example")
    yield "content-type", _with_header(request, "Content-Type", "application/octet-stream")
    yield "another header", _with_header(request, "X-Other", "2")
    yield f"{kind} body", replace(request, body=alter(request.body))


def _with_header(request: Request, name: str, value: str) -> Request:
    others = tuple(header for header in request.headers if header[0].lower() != name.lower())
    return replace(request, headers=(*others, (name, value)))


def _accepts(check: Verifier, request: Request, kind: BodyKind) -> bool:
    try:
        verify(ReceivedRequest(request, kind), [check], now_ns=NOW_NS, replays=NoReplayCheck())
    except GatewayError:
        return False
    return True
