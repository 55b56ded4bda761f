"""Checks across a recipe: it can be verified, and the client cannot decide what the signature covers."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from gateway.core.recipe.canonical import PairsStep
from gateway.core.recipe.dataflow import signed_names
from gateway.core.recipe.filters import Kind
from gateway.core.recipe.model import (
    Carrier,
    ChosenSlot,
    DerivedSlot,
    GivenSlot,
    KeySlot,
    LinesStep,
    NonceSlot,
    SecretSlot,
    SignatureSlot,
    Slot,
    Step,
    TimePartSlot,
    TimeSlot,
    names_read_by,
)
from gateway.core.recipe.syntax import ParamsSyntax, Template
from gateway.core.recipe.times import EPOCHS
from gateway.specs.binding.place import Place

Slots = Mapping[str, Slot]
Steps = Mapping[str, Step]


def check_recipe(
    at: Place, slots: Slots, carriers: Sequence[Carrier], steps: Steps, accept: Iterable[Mapping[str, Template]]
) -> None:
    carried = {name for carrier in carriers for name in carrier.slots}
    for name, slot in slots.items():
        if not isinstance(slot, GivenSlot | TimePartSlot) and name not in carried:
            at.error(f"no carrier holds {{{name}}}: it cannot be verified", "", "slots", name)
        if isinstance(slot, ChosenSlot) and not all(slot.must):
            at.error("the client could decide that nothing is signed", "", "slots", name, "must")
    _check_carriers(at, slots, carriers)
    _check_counts(at, slots)
    _check_encoded(at, steps)
    signature = next((slot for slot in slots.values() if isinstance(slot, SignatureSlot)), None)
    if signature is not None:
        signed = signed_names(slots, steps)
        if signature.method != "rsa" and "secret" not in signed:
            at.error("the signature does not depend on {secret}: anyone could make it", "", "slots", signature.name)
        _check_no_circle(at, signature, signed, carriers, steps)
    for index, binding in enumerate(accept):
        for name, template in binding.items():
            if name in names_read_by(template.names, slots, steps):
                at.error(f"{name!r} would be computed from itself", "", "accept", index, name)


def _check_carriers(at: Place, slots: Slots, carriers: Sequence[Carrier]) -> None:
    needed = {name for carrier in carriers if not carrier.optional for name in carrier.slots}
    first: dict[tuple[str, str], int] = {}
    for index, carrier in enumerate(carriers):
        place = (carrier.place, carrier.name.lower() if carrier.place == "header" else carrier.name)
        if first.setdefault(place, index) != index:
            at.error(f"there are two carriers in the {carrier.place} {carrier.name!r}", "", "carry", index)
        for name in sorted(carrier.slots - needed if carrier.optional else ()):
            if not isinstance(slots[name], GivenSlot | DerivedSlot):
                what = f"{{{name}}} must not be optional: without it, nothing would be verified"
                at.error(what, "", "carry", index, "optional")
        if carrier.type == "int" and not all(_is_number(slots[name]) for name in carrier.slots):
            at.error("only an epoch or an integer nonce can have the type int", "", "carry", index, "type")
        if isinstance(carrier.syntax, ParamsSyntax) and carrier.place != "header":
            at.error("`scheme` and `params` are for a header", "", "carry", index)


def _is_number(slot: Slot) -> bool:
    if isinstance(slot, TimeSlot):
        return slot.format in EPOCHS
    return isinstance(slot, NonceSlot) and slot.low is not None


def _check_counts(at: Place, slots: Slots) -> None:
    counts = Counter(type(slot) for slot in slots.values())
    if counts[SignatureSlot] + counts[SecretSlot] != 1:
        at.error("a recipe has one slot of kind signature or secret", "", "slots")
    if counts[SignatureSlot] and not counts[KeySlot]:
        at.error("a signature needs a slot of kind key, which selects its secret", "", "slots")
    for kind, word in ((KeySlot, "key"), (TimeSlot, "time")):
        if counts[kind] > 1:
            hint = "the others are time_part" if kind is TimeSlot else ""
            at.error(f"a recipe has one slot of kind {word}", hint, "slots")


def _check_encoded(at: Place, steps: Steps) -> None:
    """Report digests in places for text."""
    hint = "encode it: {…|hex} or {…|base64}"
    for name, step in steps.items():
        if isinstance(step, LinesStep):
            for index, line in enumerate(step.of):
                if line.kind is Kind.DIGEST:
                    at.error("a digest cannot be a line of text", hint, "steps", name, "lines", index)
        elif isinstance(step, PairsStep):
            for slot, template in step.slots.items():
                if template.kind is Kind.DIGEST:
                    at.error("a digest cannot be a value", hint, "steps", name, "pairs", "slots", slot)
            for side, reference in (("key", step.key), ("value", step.value)):
                if reference.kind is not Kind.TEXT:
                    at.error(f"this gives a {reference.kind}", hint, "steps", name, "pairs", side)


def _check_no_circle(
    at: Place, signature: SignatureSlot, signed: Collection[str], carriers: Sequence[Carrier], steps: Steps
) -> None:
    """Report a signature that is part of what it signs."""
    if signature.name in signed:
        at.error("the signature would sign itself", "", "slots", signature.name)
    for index, carrier in enumerate(carriers):
        if signature.name not in carrier.slots or carrier.place == "header":
            continue
        if carrier.may_be_in_body and "body" in signed:
            at.error("the signature is in the body that it signs", "", "carry", index)
        if carrier.place in ("query", "param") and not {"query", "target", "url"}.isdisjoint(signed):
            at.error("the signature is in the query that it signs", "", "carry", index)
        sources = {"query", "form", "json"} if carrier.place == "param" else {carrier.place}
        for name, step in steps.items():
            if name not in signed or not isinstance(step, PairsStep) or sources.isdisjoint(step.sources):
                continue
            if carrier.name not in step.except_names:
                what = f"the signature {carrier.name!r} would be one of the pairs that it signs"
                at.error(what, f"except: [{carrier.name}]", "steps", name, "pairs")
