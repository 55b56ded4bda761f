"""The keys of a recipe, and the checks across it: it can be verified, and the client cannot decide what is signed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from gateway.core.recipe.canonical import PairsStep
from gateway.core.recipe.dataflow import masked_names, reads_body, signed_names, signed_parts
from gateway.core.recipe.filters import Kind
from gateway.core.recipe.model import Recipe, Step, names_read_by
from gateway.core.recipe.slots import (
    Carrier,
    ChosenSlot,
    DerivedSlot,
    GivenSlot,
    KeySlot,
    NonceSlot,
    SecretSlot,
    SignatureSlot,
    Slot,
    TimePartSlot,
    TimeSlot,
)
from gateway.core.recipe.syntax import REQUEST_NAMES, ParamsSyntax, Template
from gateway.core.recipe.times import EPOCHS
from gateway.core.text import did_you_mean
from gateway.proof.vectors import Vector
from gateway.specs.binding import types as t
from gateway.specs.binding.place import Place, Scope
from gateway.specs.binding.table import Key, Table, optional, read_document
from gateway.specs.schema.cases import VECTOR
from gateway.specs.schema.slots import SLOTS, TEMPLATE, with_chars
from gateway.specs.schema.steps import CARRIERS, STEPS
from gateway.specs.yaml.document import Document


def build_recipe(document: Document) -> tuple[Recipe, list[Vector]] | None:
    """Return the recipe and its vectors, or None when the document has errors; they are reported."""
    place = Place(Scope(document), document.node)
    place.scope.slot_names = place.keys("slots")
    place.scope.kinds = {**REQUEST_NAMES, "secret": Kind.TEXT, **dict.fromkeys(place.scope.slot_names, Kind.TEXT)}
    recipe: tuple[Recipe, list[Vector]] | None = read_document(RECIPE, place)
    return recipe


_SLOT_MAP = t.map_of(t.by_kind(*SLOTS), t.MEMBER_NAME)


def _read_slots(place: Place) -> dict[str, Slot]:
    for name in sorted(place.entries.keys() & {*REQUEST_NAMES, "secret"}):
        place.error(f"{name!r} is already the name of a slot or of a part of the request", "", name, at_key=True)
    place.scope.slots = {name: with_chars(slot) for name, slot in _SLOT_MAP.read(place).items()}
    return place.scope.slots


def _read_binding(place: Place) -> dict[str, Template]:
    bound: dict[str, Template] = t.map_of(TEMPLATE, t.MEMBER_NAME).read(place)
    known = {"host", "path", *(place.scope.kinds.keys() - REQUEST_NAMES.keys() - place.scope.slot_names - {"secret"})}
    for name in bound:
        if name not in known:
            place.error(f"{name!r} cannot have another binding", did_you_mean(name, known), name)
    return bound


def _recipe(
    at: Place, replay: Literal["signature", "none"] | Sequence[str] | None, vectors: Sequence[Vector], **keys: Any
) -> tuple[Recipe, list[Vector]]:
    slots, carriers, steps, is_whole = keys["slots"], keys["carriers"], keys["steps"], not at.scope.document.errors
    recipe = Recipe(
        **keys,
        replay=_replay(at, replay, slots, carriers, steps),
        masked=masked_names(slots, steps),
        signed=signed_parts(slots, carriers, steps),
        reads_body=reads_body(slots, carriers, steps, keys["accept"]),
    )
    if is_whole:
        check_recipe(at, recipe)
    return recipe, list(vectors)


SLOT_MAP = t.Plain("map of slot", _read_slots, _SLOT_MAP.json)
BINDING = t.Plain("map of template", _read_binding, t.map_of(TEMPLATE, t.MEMBER_NAME).json)
REPLAY = t.list_or("`none`, `signature`, or list of slots", t.list_of(t.TEXT), t.word(("signature", "none")))
RECIPE = Table(
    "recipe",
    _recipe,
    Key("recipe", t.NAME, "the name", to="name"),
    optional("steps", STEPS, "values computed from slots, other steps and the request, see [steps](#steps)", {}),
    Key("slots", SLOT_MAP, "values that are transmitted or needed, see [slots](#slots)"),
    Key("carry", CARRIERS, "where the slots are transmitted, see [carriers](#carriers)", to="carriers"),
    optional("accept", t.list_of(BINDING, at_most=8), "alternatives of `host`, `path` or steps to verify with", ()),
    optional("replay", REPLAY, "slots whose combination is accepted only once"),
    optional("vectors", t.list_of(VECTOR), "signed requests that `check` verifies and signs again", ()),
)


def _replay(
    at: Place,
    policy: Literal["signature", "none"] | Sequence[str] | None,
    slots: Mapping[str, Slot],
    carriers: Sequence[Carrier],
    steps: Mapping[str, Step],
) -> tuple[str, ...]:
    if policy == "none":
        return ()
    if policy == "signature":
        return tuple(name for name, slot in slots.items() if isinstance(slot, KeySlot | SignatureSlot))
    if policy is not None:
        for index, name in enumerate(policy):
            if name not in slots:
                at.error(f"no slot is named {name!r}", did_you_mean(name, slots), "replay", index)
        return tuple(policy)
    covered, read = signed_parts(slots, tuple(carriers), steps), signed_names(slots, steps)
    left_out = {name for step in (steps.get(each) for each in read) for name in getattr(step, "except_names", ())}
    parts_of = {"query": {"query"}, "form": {"form", "body"}, "json": {"json", "body"}}
    parts_of["param"] = parts_of["query"] | parts_of["form"] | parts_of["json"]
    signed = set(read)
    for carrier in carriers:
        parts = {f"header.{carrier.name.lower()}"} if carrier.place == "header" else parts_of[carrier.place]
        signed |= carrier.slots if parts & covered and carrier.name not in left_out else set()
    if any(isinstance(slot, NonceSlot) and name in signed for name, slot in slots.items()):
        return tuple(name for name, slot in slots.items() if isinstance(slot, KeySlot | NonceSlot | TimeSlot))
    return ()


def check_recipe(at: Place, recipe: Recipe) -> None:
    """Report a recipe that cannot be verified, or whose client decides what the signature covers."""
    kinds = Counter(type(slot) for slot in recipe.slots.values())
    if kinds[SignatureSlot] + kinds[SecretSlot] != 1:
        at.error("a recipe has one slot of kind signature or secret", "", "slots")
    if recipe.signature and not recipe.key:
        at.error("a signature needs a slot of kind key, which selects its secret", "", "slots")
    for kind, word, hint in ((KeySlot, "key", ""), (TimeSlot, "time", "the others are time_part")):
        if kinds[kind] > 1:
            at.error(f"a recipe has one slot of kind {word}", hint, "slots")
    carried = {name for carrier in recipe.carriers for name in carrier.slots}
    for name, slot in recipe.slots.items():
        if not isinstance(slot, GivenSlot | TimePartSlot) and name not in carried:
            at.error(f"no carrier holds {{{name}}}: it cannot be verified", "", "slots", name)
        if isinstance(slot, ChosenSlot) and not all(slot.must):
            at.error("the client could decide that nothing is signed", "", "slots", name, "must")
    _check_carriers(at, recipe)
    if recipe.signature is not None:
        _check_signature(at, recipe, recipe.signature)
    for index, binding in enumerate(recipe.accept):
        for name, template in binding.items():
            if name in names_read_by(template.names, recipe.slots, recipe.steps):
                at.error(f"{name!r} would be computed from itself", "", "accept", index, name)


def _check_carriers(at: Place, recipe: Recipe) -> None:
    needed = {name for carrier in recipe.carriers if not carrier.optional for name in carrier.slots}
    numbers = {slot.name for slot in recipe.nonces if slot.low is not None}
    numbers |= {slot.name for slot in recipe.slots.values() if isinstance(slot, TimeSlot) and slot.format in EPOCHS}
    seen = set[tuple[str, str]]()
    for index, carrier in enumerate(recipe.carriers):
        place = (carrier.place, carrier.name.lower() if carrier.place == "header" else carrier.name)
        if place in seen:
            at.error(f"there are two carriers in the {carrier.place} {carrier.name!r}", "", "carry", index)
        seen.add(place)
        for name in sorted(carrier.slots - needed if carrier.optional else ()):
            if not isinstance(recipe.slots[name], GivenSlot | DerivedSlot):
                what = f"{{{name}}} must not be optional: without it, nothing would be verified"
                at.error(what, "", "carry", index, "optional")
        if carrier.type == "int" and not carrier.slots <= numbers:
            at.error("only an epoch or an integer nonce can have the type int", "", "carry", index, "type")
        if isinstance(carrier.syntax, ParamsSyntax) and carrier.place != "header":
            at.error("`scheme` and `params` are for a header", "", "carry", index)


def _check_signature(at: Place, recipe: Recipe, signature: SignatureSlot) -> None:
    """Report a signature that anyone could make, or that is part of what it signs."""
    signed = signed_names(recipe.slots, recipe.steps)
    if signature.method != "rsa" and "secret" not in signed:
        at.error("the signature does not depend on {secret}: anyone could make it", "", "slots", signature.name)
    if signature.name in signed:
        at.error("the signature would sign itself", "", "slots", signature.name)
    for index, carrier in enumerate(recipe.carriers):
        if signature.name not in carrier.slots or carrier.place == "header":
            continue
        if carrier.may_be_in_body and "body" in signed:
            at.error("the signature is in the body that it signs", "", "carry", index)
        if carrier.place in ("query", "param") and signed & {"query", "target", "url"}:
            at.error("the signature is in the query that it signs", "", "carry", index)
        sources = {"query", "form", "json"} if carrier.place == "param" else {carrier.place}
        for name, step in recipe.steps.items():
            if name not in signed or not isinstance(step, PairsStep) or sources.isdisjoint(step.sources):
                continue
            if carrier.name not in step.except_names:
                what = f"the signature {carrier.name!r} would be one of the pairs that it signs"
                at.error(what, f"except: [{carrier.name}]", "steps", name, "pairs")
