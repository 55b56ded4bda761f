"""Signs a call with a recipe. The same carriers and steps verify it on the other side.

A value that was written may be the input of another one, so signing has four phases: slots that do not depend on the
request; slots derived from it, such as a digest of the body; the list of signed headers; the signature. Each phase ends
by writing the carriers whose slots have values. The body is written before the headers. The phases are planned once per
recipe, see `Recipe.signing_phases`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import UUID

from gateway.core.http.received import NO_CAPS, ReceivedRequest, guess_body_kind
from gateway.core.http.request import Request, Secret
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.errors import CallerError, SpecError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.carriers import read_slots, read_text, write_slots
from gateway.core.recipe.evaluate import Evaluation, encode
from gateway.core.recipe.filters import to_bytes, to_text
from gateway.core.recipe.keyring import Credential, rsa_sign
from gateway.core.recipe.model import (
    ChosenSlot,
    DerivedSlot,
    GivenSlot,
    KeySlot,
    LifetimeSlot,
    NonceSlot,
    Recipe,
    SecretSlot,
    SignatureSlot,
    Slot,
    TimePartSlot,
    TimeSlot,
)
from gateway.core.recipe.times import write_time


@dataclass(frozen=True, slots=True)
class SigningContext:
    """The clock and 16 random bytes for one signature.

    `pinned` overrides the values of slots: the nonce of a vector, a client's own list of headers.
    """

    now_ns: int
    entropy: bytes
    pinned: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Signed:
    """A request ready to be sent. `evaluation` explains its signature; it is None for an unsigned call."""

    request: Request
    signature: str = ""
    evaluation: Evaluation | None = field(default=None, repr=False, compare=False)

    @classmethod
    def unsigned(cls, draft: UnsignedRequest) -> Self:
        return cls(draft.render())


def sign(
    draft: UnsignedRequest, recipe: Recipe, credential: Credential, given: Mapping[str, str], context: SigningContext
) -> Signed:
    """Sign a call.

    Raises SpecError for a slot without a value, a call without a place for one, and a secret that is not a key.
    """
    slots: dict[str, str] = {}
    try:
        for name, slot in recipe.slots.items():
            value = context.pinned[name] if name in context.pinned else _bound(slot, credential, given, context)
            if value is not None and not isinstance(slot, DerivedSlot | ChosenSlot | SignatureSlot):
                slots[name] = value
        evaluation: Evaluation | None = None
        for computed, carriers in recipe.signing_phases:
            if computed:
                message = ReceivedRequest(draft.render(), draft.body_kind, NO_CAPS)
                evaluation = Evaluation(recipe, message, slots, credential.secret.reveal())
                for slot in computed:
                    pinned = context.pinned.get(slot.name)
                    slots[slot.name] = _computed(slot, evaluation) if pinned is None else pinned
            draft = write_slots([carrier for carrier in carriers if carrier.slots <= slots.keys()], draft, slots)
        request = draft.render()
        if evaluation is None:
            message = ReceivedRequest(request, draft.body_kind, NO_CAPS)
            evaluation = Evaluation(recipe, message, slots, credential.secret.reveal())
    except ValueError as error:
        what = f"{recipe.name}: the call cannot be signed: a value does not fit its carrier"
        raise SpecError.of(Reason.INTERNAL, what) from error
    return Signed(request, slots[recipe.signature.name] if recipe.signature else "", evaluation)


def _bound(slot: Slot, credential: Credential, given: Mapping[str, str], context: SigningContext) -> str | None:
    """Return the value of a slot that does not depend on the request; None if it is optional and not given."""
    match slot:
        case KeySlot():
            return credential.key
        case SecretSlot():
            return credential.secret.reveal()
        case TimeSlot() | TimePartSlot():
            return write_time(context.now_ns, slot.format, slot.offset_s)
        case LifetimeSlot():
            return str(slot.default_s)
        case NonceSlot():
            return make_nonce(slot, context.entropy)
        case GivenSlot():
            value = given.get(slot.name, slot.default)
            if value is None and not slot.optional:
                raise SpecError.of(Reason.INTERNAL, f"the signature needs a value for `given.{slot.name}`")
            return None if value is None else str(value)
    return None


def make_nonce(slot: NonceSlot, entropy: bytes) -> str:
    """Turn 16 random bytes into a nonce from the scheme's whole range."""
    if slot.low is None or slot.high is None:
        return str(UUID(bytes=entropy, version=4))
    return str(slot.low + int.from_bytes(entropy) % (slot.high - slot.low + 1))


def _computed(slot: Slot, evaluation: Evaluation) -> str:
    recipe = evaluation.recipe
    if isinstance(slot, DerivedSlot):
        return to_text(slot.of.value(evaluation))
    if isinstance(slot, ChosenSlot):
        names = slot.rule.choose(evaluation.message.request, recipe.pseudo_headers)
        if not any(must <= set(names) for must in slot.must):
            wanted = " or ".join(", ".join(sorted(must)) for must in slot.must)
            raise SpecError.of(Reason.INTERNAL, f"{recipe.name} signs {wanted}, and the call does not have all of them")
        return slot.sep.join(f"{slot.wrap}{name}{slot.wrap}" for name in names)
    assert isinstance(slot, SignatureSlot)
    if slot.method != "rsa":
        return evaluation.signature
    try:
        digest = rsa_sign(to_text(evaluation["secret"]), to_bytes(evaluation.string_to_sign), slot.hash)
    except ImportError:
        what = "RSA needs the extra: pip install 'metric-gateway[rsa]'"
        raise SpecError.of(Reason.INTERNAL, f"{recipe.name}: {what}") from None
    except (ValueError, TypeError):
        what = f"{recipe.name}: the secret is not an RSA private key in PEM form"
        raise SpecError.of(Reason.INTERNAL, what) from None
    return encode(digest, slot.encoding)


def secrets_written(signed: Signed) -> list[Secret]:
    """Return the texts in a signed request that depend on its secret: an encoded password, a session, a signature.

    An upstream that quotes the request would quote these.
    """
    if signed.evaluation is None:
        return []
    recipe = signed.evaluation.recipe
    secret = {slot.name for slot in (recipe.secret, recipe.signature) if slot is not None} | recipe.masked
    message = ReceivedRequest(signed.request, guess_body_kind(signed.request), NO_CAPS)
    texts: list[str] = []
    try:
        for carrier in recipe.carriers:
            if carrier.slots & secret and (text := read_text(carrier, message)):
                texts += [text, text.rpartition(" ")[2]]
        texts += [text for name, text in read_slots(recipe, message).items() if name in secret]
    except CallerError:
        pass  # The body is not of the kind that it seems to be.
    return [Secret(text) for text in dict.fromkeys(texts)]


def to_draft(message: ReceivedRequest, recipe: Recipe) -> UnsignedRequest:
    """Turn a received request into a draft to be signed. Raises CallerError.

    The body is parsed only if the recipe writes to it; otherwise its bytes are kept.
    """
    body: Any = message.request.body
    if recipe.writes_body and message.body_kind in ("json", "form"):
        body = message.body if message.body_kind == "json" else tuple(message.form)
    return UnsignedRequest.of(message.request, message.body_kind, body, tuple(message.query))
