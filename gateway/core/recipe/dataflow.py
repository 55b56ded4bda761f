"""Data flow in a recipe, known at load: what the signature covers, and what depends on a secret."""

from collections.abc import Iterable, Mapping

from gateway.core.recipe.canonical import PairsStep
from gateway.core.recipe.model import Step, names_in, names_read_by
from gateway.core.recipe.slots import Carrier, ChosenSlot, DerivedSlot, SecretSlot, SignatureSlot, Slot
from gateway.core.recipe.syntax import Template

# The parts of a request in the value of each name, and of each pseudo header.
_PARTS_OF = {
    "url": {"host", "path", "query", "scheme"},
    "target": {"path", "query"},
    "body": {"body"},
    "query": {"query"},
    "path": {"path"},
    "host": {"host"},
    "method": {"method"},
    "scheme": {"scheme"},
    "(request-target)": {"method", "path", "query"},
    "@method": {"method"},
    "@target-uri": {"path", "query"},
}


def signed_names(slots: Mapping[str, Slot], steps: Mapping[str, Step]) -> frozenset[str]:
    """Return every name that the signature depends on, directly or through steps and derived slots."""
    signature = next((slot for slot in slots.values() if isinstance(slot, SignatureSlot)), None)
    if signature is None:
        return frozenset()
    templates = [signature.of, *([signature.key] if signature.key else [])]
    return names_read_by(names_in(*templates), slots, steps)


def reads_body(
    slots: Mapping[str, Slot],
    carriers: Iterable[Carrier],
    steps: Mapping[str, Step],
    accept: Iterable[Mapping[str, Template]],
) -> bool:
    """True if verification needs the body, for its bytes or for the parameters in it."""
    if any(carrier.may_be_in_body for carrier in carriers):
        return True
    templates = [slot.of for slot in slots.values() if isinstance(slot, DerivedSlot)]
    templates += [template for bindings in accept for template in bindings.values()]
    names = signed_names(slots, steps) | names_read_by(names_in(*templates), slots, steps)
    sources = {source for name in names if isinstance(step := steps.get(name), PairsStep) for source in step.sources}
    return "body" in names or not sources.isdisjoint({"form", "json"})


def signed_parts(slots: Mapping[str, Slot], carriers: Iterable[Carrier], steps: Mapping[str, Step]) -> frozenset[str]:
    """Return the parts of a request that the signature covers, for every list of headers that a client may choose."""
    names = signed_names(slots, steps)
    parts = _parts_of(names) | {name for name in names if name.startswith("header.")}
    for name in names:
        step, slot = steps.get(name), slots.get(name)
        if isinstance(step, PairsStep):
            parts |= {"query", "form", "json"} & set(step.sources)
            parts |= {f"header.{header}" for header in step.choose.names}
        if isinstance(slot, ChosenSlot):
            always = frozenset[str].intersection(*slot.must)
            parts |= {f"header.{header}" for header in always} | _parts_of(always)
    if "header.host" in parts:
        parts.add("host")
    # A signed digest covers its input.
    for carrier in carriers:
        if carrier.place == "header" and not carrier.optional and f"header.{carrier.name.lower()}" in parts:
            for slot in (slots[name] for name in carrier.slots):
                parts |= _parts_of(slot.of.names) if isinstance(slot, DerivedSlot) else set()
    return frozenset(parts)


def _parts_of(names: Iterable[str]) -> set[str]:
    return {part for name in names for part in _PARTS_OF.get(name, ())}


def masked_names(slots: Mapping[str, Slot], steps: Mapping[str, Step]) -> frozenset[str]:
    """Return the slots and steps that depend on a secret. `steps` are in evaluation order."""
    masked = {"secret", *(name for name, slot in slots.items() if isinstance(slot, SecretSlot))}
    for name, step in steps.items():
        if step.names & masked:
            masked.add(name)
    masked |= {name for name, slot in slots.items() if isinstance(slot, DerivedSlot) and slot.of.names & masked}
    return frozenset(masked - {"secret"})
