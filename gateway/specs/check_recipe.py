"""What a recipe as a whole must be, so that it can be verified and nobody can decide what it covers."""

from collections.abc import Iterable, Mapping

from gateway.core.recipe.model import (
    Carrier,
    ChosenSlot,
    GivenSlot,
    KeySlot,
    SecretSlot,
    SignatureSlot,
    Slot,
    Step,
    TimePartSlot,
    TimeSlot,
)
from gateway.core.recipe.reach import reach_of, read_by_signature
from gateway.core.recipe.template import Template
from gateway.specs.recipe_parts import RecipeParts


def check_recipe(
    parts: RecipeParts, slots: Mapping[str, Slot], carriers: Iterable[Carrier], steps: Mapping[str, Step]
) -> None:
    """Report what stands against a recipe as a whole."""
    carriers = list(carriers)
    _check_carried(parts, slots, carriers)
    _check_one_proof(parts, slots)
    _check_no_circle(parts, slots, carriers, steps)


def _check_carried(parts: RecipeParts, slots: Mapping[str, Slot], carriers: list[Carrier]) -> None:
    carried = {name for carrier in carriers for name in carrier.slots}
    for name, slot in slots.items():
        if isinstance(slot, GivenSlot) or name in carried or isinstance(slot, TimePartSlot):
            continue
        parts.document.error(["slots", name], f"no carrier holds {{{name}}}, so that it cannot be verified")
    times = [name for name, slot in slots.items() if isinstance(slot, TimeSlot)]
    if len(times) > 1:
        parts.document.error(["slots", times[1]], "a recipe has one slot of kind time", "the others are time_part")
    for name, slot in slots.items():
        if isinstance(slot, ChosenSlot) and not all(slot.must):
            parts.document.error(["slots", name, "must"], "the client could decide that nothing is signed")


def _check_one_proof(parts: RecipeParts, slots: Mapping[str, Slot]) -> None:
    proofs = [name for name, slot in slots.items() if isinstance(slot, SignatureSlot | SecretSlot)]
    if len(proofs) != 1:
        parts.document.error(["slots"], "a recipe has one slot of kind signature or secret")
    signed = any(isinstance(slot, SignatureSlot) for slot in slots.values())
    if signed and not any(isinstance(slot, KeySlot) for slot in slots.values()):
        parts.document.error(["slots"], "a signature needs a slot of kind key, by which its secret is found")


def _check_no_circle(
    parts: RecipeParts, slots: Mapping[str, Slot], carriers: list[Carrier], steps: Mapping[str, Step]
) -> None:
    signature = next((name for name, slot in slots.items() if isinstance(slot, SignatureSlot)), None)
    if signature is None:
        return
    signed = read_by_signature(slots, steps)
    if signature in signed:
        parts.document.error(["slots", signature], "the signature would have to sign itself")
    for index, carrier in enumerate(carriers):
        if carrier.place in ("json", "form", "param") and signature in carrier.slots and "body" in signed:
            parts.document.error(["carry", index], "the signature stands in the body that it would have to sign")


def check_bindings(
    parts: RecipeParts,
    accept: Iterable[Mapping[str, Template]],
    slots: Mapping[str, Slot],
    steps: Mapping[str, Step],
) -> None:
    """Report bindings of `accept` that would read what they bind."""
    for index, binding in enumerate(accept):
        for name, template in binding.items():
            if name in reach_of(template, slots, steps):
                parts.document.error(["accept", index, name], f"{name!r} would be made of itself")
