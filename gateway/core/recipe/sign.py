"""Signs a call with a recipe. The same carriers and steps verify it on the other side.

A value that was written may be the input of another one, so signing has four phases: slots that do not depend on the
request; slots derived from it, such as a digest of the body; the list of signed headers; the signature. Each phase ends
by writing the carriers whose slots have values. The body is written before the headers. The phases are planned once per
recipe, see `Recipe.signing_phases`. The body is serialised once, after the last phase that writes into it, unless a
recipe signs it before.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import field
from functools import lru_cache
from typing import Any, Self
from uuid import UUID

from gateway.core.http.received import NO_CAPS, BodyKind, ReceivedRequest
from gateway.core.http.request import Request, Secret
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.moments import NS
from gateway.core.outcome.errors import SpecError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.carriers import MAX_SLOT_CHARS, write_slots
from gateway.core.recipe.evaluate import Evaluation, encode
from gateway.core.recipe.filters import to_bytes, to_text
from gateway.core.recipe.keyring import Credential, rsa_sign
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.slots import (
    ChosenSlot,
    DerivedSlot,
    GivenSlot,
    KeySlot,
    LifetimeSlot,
    NonceSlot,
    SecretSlot,
    SignatureSlot,
    Slot,
    TimePartSlot,
    TimeSlot,
)
from gateway.core.recipe.times import write_time
from gateway.core.record import record

MAX_RSA_BYTES = 1024  # a key of 8192 bits
_LATE_NS = 9_999_999_999 * NS  # the last second whose epoch has ten digits
_DAY_NS = 86_400 * NS
_WIDEST = "\U0010ffff"  # the character with the longest encoding


@record
class SigningContext:
    """The clock and 16 random bytes for one signature.

    `pinned` overrides the values of slots: the nonce of a vector, a client's own list of headers.
    """

    now_ns: int
    entropy: bytes
    pinned: Mapping[str, str] = field(default_factory=dict)


@record
class Signed:
    """A request ready to be sent. `evaluation` explains its signature; it is None for an unsigned call."""

    request: Request
    signature: str = ""
    evaluation: Evaluation | None = field(default=None, repr=False, compare=False)

    @classmethod
    def unsigned(cls, draft: UnsignedRequest) -> Self:
        return cls(draft.render())


def sign(
    draft: UnsignedRequest, recipe: Recipe, credential: Credential, given: Mapping[str, Any], context: SigningContext
) -> Signed:
    """Sign a call.

    Raises SpecError for a slot without a value, a call without a place for one, and a secret that is not a key.
    """
    slots: dict[str, str] = {}
    pinned, kind, body = context.pinned, draft.body_kind, None
    try:
        request: Request | None = None
        evaluation: Evaluation | None = None
        for phase_slots, carriers, completes_body in recipe.signing_phases:
            if request is not None:
                evaluation = _evaluation(recipe, request, kind, slots, credential)
            for slot in phase_slots:
                value = pinned.get(slot.name)
                if evaluation is not None:
                    value = _COMPUTED[type(slot)](slot, evaluation) if value is None else value
                    evaluation[slot.name] = value
                elif value is None:
                    value = _BOUND[type(slot)](slot, credential, given, context)
                if value is not None:
                    slots[slot.name] = value
            written = write_slots(carriers, draft, slots)
            if not completes_body and recipe.leaves_unsigned({kind}):
                body = b""
            elif body is None or written.body is not draft.body:
                body = written.body_bytes()
            has_same_head = request is not None and written.headers is draft.headers and written.query is draft.query
            request = request.with_body(body) if request is not None and has_same_head else written.render(body)
            draft, body = written, (body if completes_body else None)
        assert request is not None
    except ValueError as error:
        what = f"{recipe.name}: the call cannot be signed: a value does not fit its carrier"
        raise SpecError.of(Reason.INTERNAL, what) from error
    signature = slots[recipe.proof] if recipe.signature else ""
    return Signed(request, signature, evaluation or _evaluation(recipe, request, kind, slots, credential))


def _evaluation(
    recipe: Recipe, request: Request, kind: BodyKind, slots: Mapping[str, str], credential: Credential
) -> Evaluation:
    evaluation = Evaluation(recipe, ReceivedRequest(request, kind, NO_CAPS), slots, credential.secret.reveal())
    evaluation.functions = recipe.signing_functions
    return evaluation


def _time(slot: Any, _: Credential, given: Mapping[str, Any], context: SigningContext) -> str:
    return write_time(context.now_ns, slot.format, slot.offset_s)


def _given(slot: Any, _: Credential, given: Mapping[str, Any], context: SigningContext) -> str | None:
    value = given.get(slot.name, slot.default)
    if value is None and not slot.optional:
        raise SpecError.of(Reason.INTERNAL, f"the signature needs a value for `given.{slot.name}`")
    return None if value is None else str(value)


# The values of slots that do not depend on the request; None for an optional one that is not given.
_BOUND: Mapping[type[Slot], Callable[[Any, Credential, Mapping[str, Any], SigningContext], str | None]] = {
    KeySlot: lambda slot, credential, given, context: credential.key,
    SecretSlot: lambda slot, credential, given, context: credential.secret.reveal(),
    TimeSlot: _time,
    TimePartSlot: _time,
    LifetimeSlot: lambda slot, credential, given, context: str(slot.default_s),
    NonceSlot: lambda slot, credential, given, context: make_nonce(slot, context.entropy),
    GivenSlot: _given,
}


def make_nonce(slot: NonceSlot, entropy: bytes) -> str:
    """Turn 16 random bytes into a nonce from the scheme's whole range."""
    if slot.low is None or slot.high is None:
        return str(UUID(bytes=entropy, version=4))
    return str(slot.low + int.from_bytes(entropy) % (slot.high - slot.low + 1))


def _chosen(slot: ChosenSlot, evaluation: Evaluation) -> str:
    recipe = evaluation.recipe
    names = slot.rule.choose(evaluation.message.request.header_index, recipe.pseudo_headers)
    needed = slot.needed(names)
    if needed is not None:
        raise SpecError.of(Reason.INTERNAL, f"{recipe.name} signs {needed}, and the call does not have all of them")
    return slot.sep.join([f"{slot.wrap}{name}{slot.wrap}" for name in names])


def _signature(slot: SignatureSlot, evaluation: Evaluation) -> str:
    if slot.method != "rsa":
        return evaluation.signature
    name = evaluation.recipe.name
    try:
        digest = rsa_sign(to_text(evaluation["secret"]), to_bytes(evaluation.string_to_sign), slot.hash)
    except ImportError:
        what = "RSA needs the extra: pip install 'metric-gateway[rsa]'"
        raise SpecError.of(Reason.INTERNAL, f"{name}: {what}") from None
    except (ValueError, TypeError):
        raise SpecError.of(Reason.INTERNAL, f"{name}: the secret is not an RSA private key in PEM form") from None
    return encode(digest, slot.encoding)


_COMPUTED: Mapping[type[Slot], Callable[[Any, Evaluation], str]] = {
    DerivedSlot: lambda slot, evaluation: to_text(slot.of.value(evaluation)),
    ChosenSlot: _chosen,
    SignatureSlot: _signature,
}


@lru_cache
def _longest_time(time_format: str, offset_s: int) -> str:
    days = (write_time(_LATE_NS - day * _DAY_NS, time_format, offset_s) for day in range(366))
    return max(days, key=len)


def max_added_bytes(recipe: Recipe, credential: Credential, given: Mapping[str, Any], kind: BodyKind) -> int:
    """Return an upper bound of the bytes that signing adds to a body of this kind. Nothing is signed for it."""
    if kind not in ("json", "form") or not recipe.writes_body:
        return 0
    texts: dict[str, str] = {}
    for name, slot in recipe.slots.items():
        match slot:
            case TimeSlot() | TimePartSlot():
                text = _longest_time(slot.format, slot.offset_s)
            case NonceSlot():
                text = str(slot.high or UUID(int=0))
            case SignatureSlot():
                size = MAX_RSA_BYTES if slot.method == "rsa" else hashlib.new(slot.hash).digest_size
                text = encode(bytes(size), slot.encoding)
                text = text if slot.encoding in ("hex", "HEX") else "=" * len(text)  # a form writes it as %3D
            case DerivedSlot() | ChosenSlot():
                text = _WIDEST * MAX_SLOT_CHARS
            case GivenSlot():
                text = str(given.get(name, slot.default) or "")
            case _:
                text = _BOUND[type(slot)](slot, credential, given, SigningContext(0, b"")) or ""
        texts[name] = text
    empty = UnsignedRequest("POST", "http", "host", "/", body_kind=kind, body={} if kind == "json" else ())
    signed = write_slots([carrier for _, carriers, _ in recipe.signing_phases for carrier in carriers], empty, texts)
    return len(signed.body_bytes()) - len(empty.body_bytes()) + 1  # the comma or ampersand before the first one


def secrets_written(signed: Signed) -> list[Secret]:
    """Return the texts in a signed request that depend on its secret: an encoded password, a session, a signature.

    An upstream that quotes the request would quote these.
    """
    evaluation = signed.evaluation
    if evaluation is None:
        return []
    recipe = evaluation.recipe
    secret = {recipe.proof} | recipe.masked
    texts: list[str] = []
    for carrier in recipe.carriers:
        if carrier.slots & secret and carrier.slots <= evaluation.keys():
            text = carrier.syntax.write(evaluation)
            texts += [text, text.rpartition(" ")[2]]
    texts += [to_text(evaluation[name]) for name in recipe.slots if name in secret and name in evaluation]
    return [Secret(text) for text in dict.fromkeys(texts)]


def to_draft(message: ReceivedRequest, recipe: Recipe) -> UnsignedRequest:
    """Turn a received request into a draft to be signed. Raises CallerError.

    The body is parsed only if the recipe writes to it; otherwise its bytes are kept.
    """
    body: Any = message.request.body
    if recipe.writes_body and message.body_kind in ("json", "form"):
        body = message.body if message.body_kind == "json" else tuple(message.form)
    return UnsignedRequest.of(message.request, message.body_kind, body, tuple(message.query))
