"""Signs an upstream call by a recipe. The same carriers and steps verify it on the other side."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from gateway.core.draft import Draft
from gateway.core.errors import SpecError
from gateway.core.message import Message
from gateway.core.model import Request
from gateway.core.outcome import Reason
from gateway.core.recipe.carriers import write_slots
from gateway.core.recipe.evaluate import Evaluation, evaluate
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.model import (
    GivenSlot,
    KeySlot,
    NonceSlot,
    Recipe,
    SecretSlot,
    SignatureSlot,
    Slot,
    TimeSlot,
)
from gateway.core.recipe.slots import make_nonce, write_time


@dataclass(frozen=True, slots=True)
class Fresh:
    """What makes one signature differ from the next: the clock, and 16 random bytes. `nonce` overrules the latter."""

    now_ns: int
    entropy: bytes
    nonce: str | None = None


@dataclass(frozen=True, slots=True)
class Signed:
    """A request ready to be sent, and how its signature came about."""

    request: Request
    evaluation: Evaluation

    @classmethod
    def unsigned(cls, draft: Draft) -> Self:
        return cls(draft.render(), Evaluation({}))


def sign(draft: Draft, recipe: Recipe, credential: Credential, given: Mapping[str, str], fresh: Fresh) -> Signed:
    """Sign a call. Raises SpecError when a slot has no value or the call has no place for one."""
    slots = {}
    for name, slot in recipe.slots.items():
        value = _bind(slot, credential, given, fresh)
        if value is not None:
            slots[name] = value
    signature = recipe.signature
    last = [carrier for carrier in recipe.carriers if signature and signature.name in carrier.template.names]
    first = [carrier for carrier in recipe.carriers if carrier not in last]
    draft = write_slots(first, draft, slots)
    request = draft.render()
    evaluation = evaluate(recipe, Message(request, draft.body_kind), slots, credential.secret.reveal())
    if signature is None:
        return Signed(request, evaluation)
    draft = write_slots(last, draft, slots | {signature.name: evaluation.signature})
    return Signed(draft.render(), evaluation)


def _bind(slot: Slot, credential: Credential, given: Mapping[str, str], fresh: Fresh) -> str | None:
    if isinstance(slot, KeySlot):
        return credential.key
    if isinstance(slot, SecretSlot):
        return credential.secret.reveal()
    if isinstance(slot, TimeSlot):
        return write_time(fresh.now_ns, slot.format)
    if isinstance(slot, NonceSlot):
        return fresh.nonce or make_nonce(slot, fresh.entropy)
    if isinstance(slot, SignatureSlot):
        return None
    return _given(slot, given)


def _given(slot: GivenSlot, given: Mapping[str, str]) -> str | None:
    value = given.get(slot.name, slot.default)
    if value is None and not slot.optional:
        raise SpecError.of(Reason.INTERNAL, f"the signature needs `given.{slot.name}`")
    return None if value is None else str(value)
