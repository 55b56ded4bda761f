"""Signs an upstream call by a recipe. The same carriers and steps verify it on the other side."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from gateway.core.http.received import NO_CAPS, ReceivedRequest, guess_body_kind
from gateway.core.http.request import Request, Secret
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.errors import CallerError, SpecError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.carriers import read_slots, read_text, write_slots
from gateway.core.recipe.evaluate import Evaluation, Scope, encode, evaluation_of, signature_of
from gateway.core.recipe.filters import to_bytes, to_text
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.model import (
    Carrier,
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
from gateway.core.recipe.nonce import make_nonce
from gateway.core.recipe.rsa import rsa_sign
from gateway.core.recipe.times import part_of, write_time


@dataclass(frozen=True, slots=True)
class Fresh:
    """What makes one signature differ from the next: the clock, and 16 random bytes.

    `pinned` overrules what slots would hold: the nonce of a vector, a client's own list of headers.
    """

    now_ns: int
    entropy: bytes
    pinned: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Signed:
    """A request ready to be sent, and how its signature came about; `recipe` is None where it has none."""

    request: Request
    evaluation: Evaluation
    recipe: Recipe | None = None

    @classmethod
    def unsigned(cls, draft: UnsignedRequest) -> Self:
        return cls(draft.render(), Evaluation({}))


def sign(
    draft: UnsignedRequest, recipe: Recipe, credential: Credential, given: Mapping[str, str], fresh: Fresh
) -> Signed:
    """Sign a call. Raises SpecError when a slot has no value, the call no place for one, or the key is no key.

    What is written feeds what follows: plain slots, then those derived from the request (a digest of the body that by
    now holds the former), then the list of headers that are there to be signed, then the signature.
    """
    try:
        return _sign(draft, recipe, credential, given, fresh)
    except ValueError as error:
        what = f"{recipe.name}: the call cannot be signed: a value does not fit where it is to stand"
        raise SpecError.of(Reason.INTERNAL, what) from error


def secrets_written(signed: Signed) -> list[Secret]:
    """Return what a signed request shows of its secret: the values of carriers and slots that the secret flows into.

    An upstream that quotes the request would quote these: an encoded password, a session, a signature.
    """
    recipe = signed.recipe
    if recipe is None:
        return []
    secret = {name for name, slot in recipe.slots.items() if isinstance(slot, SecretSlot | SignatureSlot)}
    hidden = secret | recipe.masked
    message = ReceivedRequest(signed.request, guess_body_kind(signed.request), NO_CAPS)
    texts: list[str] = []
    try:
        for carrier in recipe.carriers:
            if carrier.slots & hidden and (text := read_text(carrier, message)):
                texts += [text, text.rpartition(" ")[2]]
        texts += [text for name, text in read_slots(recipe, message).items() if name in hidden]
    except CallerError:
        pass  # a body that the call itself does not declare: what was read so far is all that can be known
    return [Secret(text) for text in dict.fromkeys(texts)]


def to_draft(message: ReceivedRequest, recipe: Recipe) -> UnsignedRequest:
    """Return a received request as a draft to be signed.

    Its body is read only where the recipe puts something into it; else its bytes stay as they are. Raises CallerError.
    """
    in_body = any(carrier.place in ("json", "form", "param") for carrier in recipe.carriers)
    if in_body and message.body_kind in ("json", "form"):
        body = message.body if message.body_kind == "json" else tuple(message.form)
        return UnsignedRequest.of(message.request, message.body_kind, body, tuple(message.query))
    return UnsignedRequest.of(message.request, message.body_kind, message.request.body, tuple(message.query))


def _sign(
    draft: UnsignedRequest, recipe: Recipe, credential: Credential, given: Mapping[str, str], fresh: Fresh
) -> Signed:
    slots = _bound(recipe, credential, given, fresh)
    secret = credential.secret.reveal()
    draft = _write(recipe, draft, slots)
    for kind in (DerivedSlot, ChosenSlot, SignatureSlot):
        message = ReceivedRequest(draft.render(), draft.body_kind, NO_CAPS)
        scope = Scope(recipe, message, slots, secret)
        for name, slot in recipe.slots.items():
            if isinstance(slot, kind) and name not in slots:
                slots[name] = fresh.pinned[name] if name in fresh.pinned else _computed(slot, scope)
        draft = _write(recipe, draft, slots)
    signature = slots.get(recipe.signature.name, "") if recipe.signature else ""
    return Signed(draft.render(), evaluation_of(scope, signature), recipe)


def _bound(recipe: Recipe, credential: Credential, given: Mapping[str, str], fresh: Fresh) -> dict[str, str]:
    slots: dict[str, str] = {}
    for name, slot in recipe.slots.items():
        if isinstance(slot, DerivedSlot | ChosenSlot | SignatureSlot):
            continue
        value = fresh.pinned[name] if name in fresh.pinned else _bind(slot, credential, given, fresh)
        if value is not None:
            slots[name] = value
    return slots


def _write(recipe: Recipe, draft: UnsignedRequest, slots: Mapping[str, str]) -> UnsignedRequest:
    """Write each carrier whose slots all have a value; those in the body first, since headers may hold its digest.

    An optional carrier is written only for what configuration gives: a token, but not a digest that nobody needs.
    """
    ready = [carrier for carrier in recipe.carriers if carrier.slots <= slots.keys() and _is_wanted(recipe, carrier)]
    return write_slots(sorted(ready, key=lambda carrier: carrier.place == "header"), draft, slots)


def _is_wanted(recipe: Recipe, carrier: Carrier) -> bool:
    if not carrier.optional:
        return True
    return bool(carrier.slots) and all(isinstance(recipe.slots[name], GivenSlot) for name in carrier.slots)


def _bind(slot: Slot, credential: Credential, given: Mapping[str, str], fresh: Fresh) -> str | None:
    match slot:
        case KeySlot():
            return credential.key
        case SecretSlot():
            return credential.secret.reveal()
        case TimeSlot():
            return write_time(fresh.now_ns, slot.format, slot.offset_s)
        case TimePartSlot():
            return part_of(fresh.now_ns, slot)
        case LifetimeSlot():
            return str(slot.default_s)
        case NonceSlot():
            return make_nonce(slot, fresh.entropy)
        case GivenSlot():
            return _given(slot, given)
    return None


def _given(slot: GivenSlot, given: Mapping[str, str]) -> str | None:
    value = given.get(slot.name, slot.default)
    if value is None and not slot.optional:
        raise SpecError.of(Reason.INTERNAL, f"the signature needs `given.{slot.name}`")
    return None if value is None else str(value)


def _computed(slot: Slot, scope: Scope) -> str:
    if isinstance(slot, DerivedSlot):
        return to_text(slot.of.value(scope))
    if isinstance(slot, ChosenSlot):
        names = slot.rule.choose(scope.message.request, _pseudo_names(scope.recipe))
        if not any(must <= set(names) for must in slot.must):
            wanted = " or ".join(", ".join(sorted(must)) for must in slot.must)
            raise SpecError.of(Reason.INTERNAL, f"{scope.recipe.name} signs {wanted}, and the call has not all of them")
        return slot.sep.join(f"{slot.wrap}{name}{slot.wrap}" for name in names)
    assert isinstance(slot, SignatureSlot)
    if slot.method != "rsa":
        return signature_of(scope)
    try:
        signature = rsa_sign(to_text(scope["secret"]), to_bytes(slot.of.value(scope)), slot.hash)
    except (ValueError, TypeError, ImportError) as error:
        raise SpecError.of(Reason.INTERNAL, f"{scope.recipe.name}: the secret does not serve: {_why(error)}") from None
    return encode(signature, slot.encoding)


def _why(error: Exception) -> str:
    if isinstance(error, ImportError):
        return "RSA needs the extra: pip install 'metric-gateway[rsa]'"
    return "it is not an RSA private key in PEM form"


def _pseudo_names(recipe: Recipe) -> tuple[str, ...]:
    return tuple(name for step in recipe.steps.values() for name in getattr(step, "pseudo", ()))
