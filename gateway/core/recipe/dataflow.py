"""What flows where in a recipe: what the signature covers, what a secret reaches. Known before any request."""

from collections.abc import Iterable, Mapping

from gateway.core.recipe.canonical import Pairs
from gateway.core.recipe.model import (
    Carrier,
    Chain,
    ChosenSlot,
    DerivedSlot,
    Hmac,
    Lines,
    SecretSlot,
    SignatureSlot,
    Slot,
    Step,
    Text,
)
from gateway.core.recipe.template import Template

_PARTS_OF = {
    "url": {"host", "path", "query", "scheme"},
    "target": {"path", "query"},
    "body": {"body"},
    "query": {"query"},
    "path": {"path"},
    "host": {"host"},
    "method": {"method"},
    "scheme": {"scheme"},
}


def templates_of(step: Step) -> Iterable[Template]:
    match step:
        case Text():
            return [step.of]
        case Lines():
            return step.of
        case Hmac():
            return [step.key, step.of]
        case Chain():
            return [step.key, *step.of]
        case Pairs():
            return [*step.slots.values(), *step.pseudo.values()]


def read_by_signature(slots: Mapping[str, Slot], steps: Mapping[str, Step]) -> frozenset[str]:
    """Return every name that flows into the signature, those of steps on the way included."""
    signature = next((slot for slot in slots.values() if isinstance(slot, SignatureSlot)), None)
    if signature is None:
        return frozenset()
    key = reach_of(signature.key, slots, steps) if signature.key else frozenset[str]()
    return reach_of(signature.of, slots, steps) | key


def reads_body(
    slots: Mapping[str, Slot],
    carriers: Iterable[Carrier],
    steps: Mapping[str, Step],
    accept: Iterable[Mapping[str, Template]],
) -> bool:
    """Tell whether verification needs the body, for its bytes or for the parameters in it."""
    if any(carrier.may_be_in_body for carrier in carriers):
        return True
    templates = [slot.of for slot in slots.values() if isinstance(slot, DerivedSlot)]
    templates += [template for bindings in accept for template in bindings.values()]
    names = read_by_signature(slots, steps).union(*(reach_of(template, slots, steps) for template in templates))
    sources = {source for name in names if isinstance(step := steps.get(name), Pairs) for source in step.sources}
    return "body" in names or not sources.isdisjoint({"form", "json"})


def reach_of(template: Template, slots: Mapping[str, Slot], steps: Mapping[str, Step]) -> frozenset[str]:
    """Return every name that a template reads, those of steps on the way included."""
    names: set[str] = set()
    waiting = set(template.names)
    while waiting:
        name = waiting.pop()
        names.add(name)
        waiting |= _read_by(name, slots, steps) - names
    return frozenset(names)


def _read_by(name: str, slots: Mapping[str, Slot], steps: Mapping[str, Step]) -> set[str]:
    step, slot = steps.get(name), slots.get(name)
    if step is not None:
        read = {each for template in templates_of(step) for each in template.names}
        return read | ({step.header_list} if isinstance(step, Pairs) and step.header_list else set())
    return set(slot.of.names) if isinstance(slot, DerivedSlot) else set()


def signed_parts(slots: Mapping[str, Slot], carriers: Iterable[Carrier], steps: Mapping[str, Step]) -> frozenset[str]:
    """Return the parts of a request that the signature covers, whatever list of headers the client chooses."""
    parts = _signed_by_name(slots, steps)
    # A signed digest covers what it is a digest of.
    for carrier in carriers:
        if carrier.place == "header" and not carrier.optional and f"header.{carrier.name.lower()}" in parts:
            derived = [slots[name] for name in carrier.slots]
            names = {name for slot in derived if isinstance(slot, DerivedSlot) for name in slot.of.names}
            parts |= {part for name in names for part in _PARTS_OF.get(name, ())}
    return frozenset(parts)


def _signed_by_name(slots: Mapping[str, Slot], steps: Mapping[str, Step]) -> set[str]:
    names = read_by_signature(slots, steps)
    parts = {part for name in names for part in _PARTS_OF.get(name, ())}
    parts |= {name for name in names if name.startswith("header.")}
    for name in names:
        step, slot = steps.get(name), slots.get(name)
        if isinstance(step, Pairs):
            parts |= {"query", "form", "json"} & set(step.sources)
            parts |= {f"header.{header}" for header in step.choose.names}
        if isinstance(slot, ChosenSlot):
            parts |= _always_signed(slot, slots)
    if "header.host" in parts:
        parts.add("host")
    return parts


def _always_signed(slot: ChosenSlot, slots: Mapping[str, Slot]) -> set[str]:
    always = frozenset[str].intersection(*slot.must)
    pseudo = {"(request-target)": {"method", "path", "query"}, "@method": {"method"}, "@target-uri": {"path", "query"}}
    parts = {f"header.{name}" for name in always} | {part for name in always for part in pseudo.get(name, ())}
    return parts


def masked_names(slots: Mapping[str, Slot], steps: Mapping[str, Step]) -> frozenset[str]:
    """Return the slots and steps that a secret flows into."""
    secret = {"secret", *(name for name, slot in slots.items() if isinstance(slot, SecretSlot))}
    reached = set(secret)
    for name, step in steps.items():
        if any(template.names & reached for template in templates_of(step)):
            reached.add(name)
    for name, slot in slots.items():
        if isinstance(slot, DerivedSlot) and slot.of.names & reached:
            reached.add(name)
    return frozenset(reached - {"secret"})
