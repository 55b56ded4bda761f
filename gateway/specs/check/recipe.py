"""What a recipe as a whole must be, so that it can be verified and nobody can decide what it covers."""

from collections import Counter
from collections.abc import Iterable, Mapping

from gateway.core.recipe.canonical import PairsStep
from gateway.core.recipe.dataflow import names_read_by, signed_names
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
)
from gateway.core.recipe.syntax import ParamsSyntax, Template
from gateway.core.recipe.times import EPOCHS
from gateway.specs.binding.place import Place

Slots = Mapping[str, Slot]
Steps = Mapping[str, Step]


def check_recipe(at: Place, slots: Slots, carriers: list[Carrier], steps: Steps) -> None:
    """Report what stands against a recipe as a whole."""
    _check_carried(at, slots, carriers)
    _check_carriers(at, slots, carriers)
    _check_counts(at, slots)
    _check_encoded(at, steps)
    signature = next((slot for slot in slots.values() if isinstance(slot, SignatureSlot)), None)
    if signature is not None:
        _check_secret(at, signature, slots, steps)
        _check_no_circle(at, signature, slots, carriers, steps)


def check_bindings(at: Place, accept: Iterable[Mapping[str, Template]], slots: Slots, steps: Steps) -> None:
    """Report bindings of `accept` that would read what they bind."""
    for index, binding in enumerate(accept):
        for name, template in binding.items():
            if name in names_read_by(template, slots, steps):
                at.scope.document.error(["accept", index, name], f"{name!r} would be made of itself")


def _check_carried(at: Place, slots: Slots, carriers: list[Carrier]) -> None:
    carried = {name for carrier in carriers for name in carrier.slots}
    for name, slot in slots.items():
        if isinstance(slot, GivenSlot | TimePartSlot) or name in carried:
            continue
        at.scope.document.error(["slots", name], f"no carrier holds {{{name}}}, so that it cannot be verified")
    for name, slot in slots.items():
        if isinstance(slot, ChosenSlot) and not all(slot.must):
            at.scope.document.error(["slots", name, "must"], "the client could decide that nothing is signed")


def _check_carriers(at: Place, slots: Slots, carriers: list[Carrier]) -> None:
    needed = {name for carrier in carriers if not carrier.optional for name in carrier.slots}
    first: dict[tuple[str, str], int] = {}
    for index, carrier in enumerate(carriers):
        place = (carrier.place, carrier.name.lower() if carrier.place == "header" else carrier.name)
        if first.setdefault(place, index) != index:
            at.scope.document.error(["carry", index], f"the {carrier.place} {carrier.name!r} is carried twice")
        for name in sorted(carrier.slots - needed if carrier.optional else ()):
            if not isinstance(slots[name], GivenSlot | DerivedSlot):
                what = f"{{{name}}} would not have to be there, and nothing would be verified without it"
                at.scope.document.error(["carry", index, "optional"], what)
        if carrier.type == "int" and not all(_is_number(slots[name]) for name in carrier.slots):
            at.scope.document.error(["carry", index, "type"], "only an epoch or an integer nonce is an int")
        if isinstance(carrier.syntax, ParamsSyntax) and carrier.place != "header":
            at.scope.document.error(["carry", index], "`scheme` and `params` stand in a header")


def _is_number(slot: Slot) -> bool:
    if isinstance(slot, TimeSlot):
        return slot.format in EPOCHS
    return isinstance(slot, NonceSlot) and slot.low is not None


def _check_counts(at: Place, slots: Slots) -> None:
    counts = Counter(type(slot) for slot in slots.values())
    if counts[SignatureSlot] + counts[SecretSlot] != 1:
        at.scope.document.error(["slots"], "a recipe has one slot of kind signature or secret")
    if counts[SignatureSlot] and not counts[KeySlot]:
        at.scope.document.error(["slots"], "a signature needs a slot of kind key, by which its secret is found")
    for kind, word in ((KeySlot, "key"), (TimeSlot, "time")):
        if counts[kind] > 1:
            hint = "the others are time_part" if kind is TimeSlot else ""
            at.scope.document.error(["slots"], f"a recipe has one slot of kind {word}", hint)


def _check_encoded(at: Place, steps: Steps) -> None:
    """Report digests that would be taken for text."""
    hint = "encode it: {…|hex} or {…|base64}"
    for name, step in steps.items():
        if isinstance(step, LinesStep):
            for index, line in enumerate(step.of):
                if line.kind is Kind.DIGEST:
                    at.scope.document.error(["steps", name, "lines", index], "a digest is no line of text", hint)
        elif isinstance(step, PairsStep):
            for slot, template in step.slots.items():
                if template.kind is Kind.DIGEST:
                    at.scope.document.error(["steps", name, "pairs", "slots", slot], "a digest is no value", hint)
            for side, reference in (("key", step.key), ("value", step.value)):
                if reference.kind is not Kind.TEXT:
                    at.scope.document.error(["steps", name, "pairs", side], f"this gives a {reference.kind}", hint)


def _check_secret(at: Place, signature: SignatureSlot, slots: Slots, steps: Steps) -> None:
    """Report a signature that whoever reads the recipe could make."""
    if signature.method == "rsa":
        return
    reached = names_read_by(signature.of, slots, steps)
    if signature.key is not None:
        reached |= names_read_by(signature.key, slots, steps)
    if "secret" not in reached:
        at.scope.document.error(
            ["slots", signature.name], "the signature does not depend on {secret}: anyone could make it"
        )


def _check_no_circle(at: Place, signature: SignatureSlot, slots: Slots, carriers: list[Carrier], steps: Steps) -> None:
    """Report a signature that stands in what it signs."""
    signed = signed_names(slots, steps)
    if signature.name in signed:
        at.scope.document.error(["slots", signature.name], "the signature would have to sign itself")
    for index, carrier in enumerate(carriers):
        if signature.name not in carrier.slots:
            continue
        if carrier.place in ("json", "form", "param") and "body" in signed:
            at.scope.document.error(["carry", index], "the signature stands in the body that it would have to sign")
        if carrier.place in ("query", "param") and signed & {"query", "target", "url"}:
            at.scope.document.error(["carry", index], "the signature stands in the query that it would have to sign")
        if carrier.place != "header":
            _check_excepted(at, carrier, signed, steps)


def _check_excepted(at: Place, carrier: Carrier, signed: frozenset[str], steps: Steps) -> None:
    sources = {"query": {"query"}, "form": {"form"}, "json": {"json"}, "param": {"query", "form", "json"}}
    for name, step in steps.items():
        if not isinstance(step, PairsStep) or name not in signed or not sources[carrier.place] & set(step.sources):
            continue
        if carrier.name not in step.except_names:
            what = f"the signature {carrier.name!r} would be among the pairs that it signs"
            at.scope.document.error(["steps", name, "pairs"], what, f"except: [{carrier.name}]")
