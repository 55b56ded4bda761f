"""What a recipe protects, found out: a sample is signed, each part of it altered, and each alteration verified."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gateway.core.draft import Draft
from gateway.core.errors import GatewayError, SpecError
from gateway.core.message import BodyKind, Message
from gateway.core.model import Request, Secret
from gateway.core.outcome import Reason
from gateway.core.recipe.keyring import Credential, make_keyring
from gateway.core.recipe.model import GivenSlot, Recipe
from gateway.core.recipe.sign import Fresh, sign
from gateway.core.recipe.verify import Check, Forgetful, verify

PARTS = ("method", "path", "query", "host", "content-type", "another header", "body")
NOW_NS = 1_700_000_000_000_000_000


@dataclass(frozen=True, slots=True)
class Protection:
    """One part of a request, and whether the scheme notices that it was altered."""

    part: str
    protected: bool


def coverage(recipe: Recipe, secret: Secret | None = None) -> list[Protection]:
    """Return what the recipe protects of a POST with a query, a body and a header of no meaning.

    `secret` is the key for schemes that need a certain form of it. Raises SpecError where the sample cannot be signed.
    """
    credential = Credential(secret or Secret("a-secret"), "a-key" if recipe.needs_key else None)
    given = {name: slot.default or "given" for name, slot in recipe.slots.items() if isinstance(slot, GivenSlot)}
    kind, body = _sample_body(recipe)
    draft = Draft(
        method="POST",
        scheme="https",
        host="host.example",
        path="/v1/report",
        query=(("q", "1"),),
        headers=(("Content-Type", _CONTENT_TYPE[kind]), ("X-Other", "1")),
        body_kind=kind,
        body=body,
    )
    request = sign(draft, recipe, credential, given, Fresh(NOW_NS, bytes(range(16)))).request
    check = Check(recipe, make_keyring([credential]), {})
    if not _accepts(check, request, kind):
        raise SpecError.of(Reason.INTERNAL, f"{recipe.name} refuses what it signed itself")
    altered = dict(_alterations(request, kind))
    return [Protection(part, not _accepts(check, altered[part], kind)) for part in PARTS]


_CONTENT_TYPE: Mapping[BodyKind, str] = {
    "json": "application/json",
    "form": "application/x-www-form-urlencoded",
    "text": "text/plain",
}


def _sample_body(recipe: Recipe) -> tuple[BodyKind, Any]:
    places = {carrier.place for carrier in recipe.carriers}
    if "json" in places:
        return "json", {"a": 1}
    if "form" in places or _reads_form(recipe):
        return "form", (("a", "1"),)
    return ("json", {"a": 1}) if "param" in places else ("text", "a=1")


def _reads_form(recipe: Recipe) -> bool:
    return any("form" in getattr(step, "sources", ()) for step in recipe.steps.values())


def _alterations(request: Request, kind: BodyKind) -> Iterator[tuple[str, Request]]:
    # A form or JSON body keeps what it carries for the signature, and gains a member.
    bodies = {"json": request.body[:-1] + b',"zz":1}', "form": request.body + b"&zz=1"}
    yield "method", replace(request, method="PUT")
    yield "path", replace(request, target=request.target.replace("/v1/report", "/v1/other"))
    yield "query", replace(request, target=request.target + "&zz=1")
    yield "host", _with_header(request, "Host", "other.example")
    yield "content-type", _with_header(request, "Content-Type", "application/octet-stream")
    yield "another header", _with_header(request, "X-Other", "2")
    yield "body", replace(request, body=bodies.get(kind, b"b=2"))


def _with_header(request: Request, name: str, value: str) -> Request:
    others = tuple(header for header in request.headers if header[0].lower() != name.lower())
    return replace(request, headers=(*others, (name, value)))


def _accepts(check: Check, request: Request, kind: BodyKind) -> bool:
    try:
        verify(Message(request, kind), [check], now_ns=NOW_NS, replays=Forgetful())
    except GatewayError:
        return False
    return True
