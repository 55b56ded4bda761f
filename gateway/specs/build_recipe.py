"""From a recipe's YAML to a recipe: templates compiled, steps ordered, slots and carriers checked."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any, get_args

from gateway.core.recipe.carriers import carrier_pattern
from gateway.core.recipe.filters import Kind
from gateway.core.recipe.model import (
    Carrier,
    GivenSlot,
    KeySlot,
    Lines,
    NonceSlot,
    Place,
    Recipe,
    SecretSlot,
    SignatureSlot,
    Slot,
    Step,
    Text,
    TimeSlot,
)
from gateway.core.recipe.pairs import Pairs
from gateway.core.recipe.slots import TIME_FORMATS
from gateway.core.recipe.template import REQUEST_NAMES, RecipeError, Reference, Template, compile_template
from gateway.core.suggest import nearest
from gateway.specs.document import Document
from gateway.specs.models import (
    CarrierSpec,
    GivenSlotSpec,
    KeySlotSpec,
    NonceSlotSpec,
    PairsSpec,
    RecipeSpec,
    SecretSlotSpec,
    SignatureSlotSpec,
    SlotSpec,
    StepSpec,
    TimeSlotSpec,
)
from gateway.specs.nodes import Path, to_python

DEFAULT_CHARS = r"[^\s,/:;]+"
_SIGNATURE_CHARS = {
    "hex": "[0-9a-f]+",
    "HEX": "[0-9A-F]+",
    "base64": "[A-Za-z0-9+/=]+",
    "base64url": "[A-Za-z0-9_=-]+",
}
_NONE = Template("", ("",), Kind.TEXT)


def build_recipe(document: Document) -> Recipe | None:
    """Return the recipe, or None when the document has errors; they are reported."""
    spec = document.read(RecipeSpec, to_python(document.node))
    if spec is None:
        return None
    recipe = _Builder(document, spec).build()
    return recipe if not document.errors else None


@dataclass(frozen=True, slots=True)
class _Builder:
    document: Document
    spec: RecipeSpec

    def build(self) -> Recipe:
        kinds: dict[str, Kind] = {**REQUEST_NAMES, "secret": Kind.TEXT, **dict.fromkeys(self.spec.slots, Kind.TEXT)}
        for name in self.spec.steps.keys() & kinds.keys():
            self.document.error(["steps", name], f"{name!r} is already the name of a slot or of a part of the request")
        steps: dict[str, Step] = {}
        for name in self._order():
            kinds[name] = Kind.TEXT
            steps[name] = self._step(self.spec.steps[name], kinds, ["steps", name])
            kinds[name] = steps[name].of.kind if isinstance(steps[name], Text) else Kind.TEXT  # type: ignore[union-attr]
        slots = {name: self._slot(name, slot, kinds) for name, slot in self.spec.slots.items()}
        carriers = tuple(
            self._carrier(carrier, slots, ["carry", index]) for index, carrier in enumerate(self.spec.carry)
        )
        self._check_slots(slots, carriers, steps)
        return Recipe(
            self.spec.recipe,
            slots,
            carriers,
            steps,
            tuple({str(name): value for name, value in binding.items()} for binding in self.spec.accept),
            self._replay(slots, steps),
            _reached_by("secret", steps) | _secret_slots(slots),
            frozenset(name.removeprefix("header.") for name in _all_names(slots, steps) if name.startswith("header.")),
        )

    def _order(self) -> list[str]:
        """Return the steps' names such that each stands after what it reads; a cycle is reported."""
        reads = {name: _names_in(step) & self.spec.steps.keys() for name, step in self.spec.steps.items()}
        try:
            return list(TopologicalSorter(reads).static_order())
        except CycleError as error:
            circle = " -> ".join(reversed(error.args[1]))
            self.document.error(["steps", error.args[1][0]], f"the steps go in a circle: {circle}")
            return []

    def _step(self, spec: StepSpec, kinds: Mapping[str, Kind], path: Path) -> Step:
        present = [name for name in ("text", "lines", "pairs") if getattr(spec, name) is not None]
        if len(present) != 1:
            self.document.error(path, "a step is one of text, lines and pairs")
        if spec.lines is not None:
            lines = [self._template(line, kinds, [*path, "lines", at]) for at, line in enumerate(spec.lines)]
            return Lines(tuple(lines))
        if spec.pairs is not None:
            return self._pairs(spec.pairs, kinds, [*path, "pairs"])
        return Text(self._template(spec.text or "", kinds, [*path, "text"]))

    def _pairs(self, spec: PairsSpec, kinds: Mapping[str, Kind], path: Path) -> Pairs:
        sides = {"k": Kind.TEXT, "v": Kind.TEXT}
        if bool(spec.slots) != ("slots" in spec.from_):
            self.document.error(path, "`from: slots` and `slots` belong together")
        return Pairs(
            tuple(spec.from_),
            {name: self._template(text, kinds, [*path, "slots", name]) for name, text in spec.slots.items()},
            frozenset(spec.except_),
            self._filters("k", spec.key, [*path, "key"]),
            self._filters("v", spec.value, [*path, "value"]),
            spec.sort,
            self._template(spec.item, sides, [*path, "item"]),
            None if spec.item_empty is None else self._template(spec.item_empty, sides, [*path, "item_empty"]),
            spec.skip_empty,
            spec.join,
            spec.prefix,
            spec.end,
        )

    def _filters(self, name: str, filters: str, path: Path) -> Reference:
        template = self._template(f"{{{name}|{filters}}}" if filters else f"{{{name}}}", {name: Kind.TEXT}, path)
        part = template.parts[0]
        return part if isinstance(part, Reference) else Reference(name, (), Kind.TEXT)

    def _slot(self, name: str, spec: SlotSpec, kinds: Mapping[str, Kind]) -> Slot:
        path = ["slots", name]
        chars = self._chars(spec, path)
        match spec:
            case KeySlotSpec():
                return KeySlot(name, chars)
            case SecretSlotSpec():
                return SecretSlot(name, chars)
            case GivenSlotSpec():
                return GivenSlot(name, chars, spec.default, spec.optional)
            case TimeSlotSpec():
                return TimeSlot(name, chars, spec.format, spec.window_s)
            case NonceSlotSpec():
                return NonceSlot(name, chars, *self._range(spec.make, [*path, "make"]))
            case SignatureSlotSpec():
                of = self._template(spec.of, kinds, [*path, "of"])
                key = self._template(spec.key, kinds, [*path, "key"])
                if key.source == "":
                    self.document.error([*path, "key"], "the HMAC key is empty")
                return SignatureSlot(name, chars, of, spec.hmac, key, spec.as_)

    def _chars(self, spec: SlotSpec, path: Path) -> str:
        if isinstance(spec, SignatureSlotSpec):
            return _SIGNATURE_CHARS[spec.as_]
        chars = spec.chars
        if isinstance(spec, TimeSlotSpec):
            if spec.format not in TIME_FORMATS:
                known = nearest(spec.format, TIME_FORMATS.keys())
                self.document.error([*path, "format"], f"no time is written {spec.format!r}", known)
                return DEFAULT_CHARS
            chars = chars or TIME_FORMATS[spec.format][1]
        if isinstance(spec, NonceSlotSpec) and spec.make.startswith("int:"):
            chars = chars or "[0-9]{1,20}"
        try:
            re.compile(chars or "")
        except re.error as error:
            self.document.error([*path, "chars"], f"{chars!r} is not a pattern: {error}")
            return DEFAULT_CHARS
        return chars or DEFAULT_CHARS

    def _range(self, make: str, path: Path) -> tuple[int | None, int | None]:
        bounds = re.fullmatch(r"int:(\d{1,18})\.\.(\d{1,18})", make)
        if bounds and int(bounds[1]) < int(bounds[2]):
            return int(bounds[1]), int(bounds[2])
        if make != "uuid4":
            self.document.error(path, f"{make!r} makes no nonce", "write uuid4, or int:LOW..HIGH")
        return None, None

    def _carrier(self, spec: CarrierSpec, slots: Mapping[str, Slot], path: Path) -> Carrier:
        written = {"header": spec.header, "query": spec.query, "form": spec.form, "json": spec.json_}
        places: list[tuple[Place, str]] = [
            (place, name) for place in get_args(Place) if (name := (written | {"param": spec.param})[place]) is not None
        ]
        if len(places) != 1:
            self.document.error(path, f"a carrier sits in one of {', '.join(get_args(Place))}")
        place, name = places[0] if places else ("header", "")
        template = self._template(spec.value, dict.fromkeys(slots, Kind.TEXT), [*path, "value"])
        pattern = re.compile("")
        try:
            pattern = carrier_pattern(template, slots)
        except RecipeError as error:
            self.document.error([*path, "value"], error.what, error.hint)
        return Carrier(place, name, template, pattern, spec.type, spec.optional)

    def _check_slots(self, slots: Mapping[str, Slot], carriers: Iterable[Carrier], steps: Mapping[str, Step]) -> None:
        carried = {name for carrier in carriers for name in carrier.template.names}
        for name, slot in slots.items():
            if name not in carried and not isinstance(slot, GivenSlot):
                self.document.error(["slots", name], f"no carrier holds {{{name}}}, so that it cannot be verified")
        signatures = [name for name, slot in slots.items() if isinstance(slot, SignatureSlot)]
        secrets = [name for name, slot in slots.items() if isinstance(slot, SecretSlot)]
        if len(signatures) + len(secrets) != 1:
            self.document.error(["slots"], "a recipe has one slot of kind signature or secret")
        if signatures and not any(isinstance(slot, KeySlot) for slot in slots.values()):
            self.document.error(["slots"], "a signature needs a slot of kind key, by which its secret is found")
        if signatures and signatures[0] in _all_names(slots, steps):
            self.document.error(["slots", signatures[0]], "the signature would have to sign itself")
        body_holds_it = any(
            carrier.place in ("json", "form", "param") and signatures[:1] == list(carrier.template.names)
            for carrier in carriers
        )
        if body_holds_it and "body" in _all_names(slots, steps):
            self.document.error(["carry"], "the signature stands in the body that it would have to sign")

    def _replay(self, slots: Mapping[str, Slot], steps: Mapping[str, Step]) -> tuple[str, ...]:
        policy = self.spec.replay
        if policy == "none":
            return ()
        if policy == "signature":
            return tuple(name for name, slot in slots.items() if isinstance(slot, KeySlot | SignatureSlot))
        if isinstance(policy, list):
            for index, name in enumerate(policy):
                if name not in slots:
                    self.document.error(["replay", index], f"no slot is named {name!r}", nearest(name, slots.keys()))
            return tuple(policy)
        signed = _all_names(slots, steps)
        if any(isinstance(slot, NonceSlot) and name in signed for name, slot in slots.items()):
            return tuple(name for name, slot in slots.items() if isinstance(slot, KeySlot | NonceSlot | TimeSlot))
        return ()

    def _template(self, source: str, kinds: Mapping[str, Kind], path: Path) -> Template:
        try:
            return compile_template(source, kinds)
        except RecipeError as error:
            self.document.error(path, error.what, error.hint)
            return _NONE


def _names_in(spec: Any) -> set[str]:
    """Return each name in braces anywhere in a step as written."""
    if isinstance(spec, str):
        return {name.split("|")[0] for name in re.findall(r"\{([^{}]*)\}", spec)}
    if isinstance(spec, Mapping):
        return {name for value in spec.values() for name in _names_in(value)}
    if isinstance(spec, list):
        return {name for value in spec for name in _names_in(value)}
    return _names_in(spec.model_dump()) if hasattr(spec, "model_dump") else set()


def _templates(step: Step) -> Iterable[Template]:
    if isinstance(step, Text):
        return [step.of]
    return step.of if isinstance(step, Lines) else step.slots.values()


def _all_names(slots: Mapping[str, Slot], steps: Mapping[str, Step]) -> set[str]:
    """Return every name that steps, or the signature, read."""
    names = {name for step in steps.values() for template in _templates(step) for name in template.names}
    for slot in slots.values():
        if isinstance(slot, SignatureSlot):
            names |= slot.of.names | slot.key.names
    return names


def _reached_by(name: str, steps: Mapping[str, Step]) -> frozenset[str]:
    """Return the steps that a name flows into."""
    reached = {name}
    for step_name, step in steps.items():
        if any(template.names & reached for template in _templates(step)):
            reached.add(step_name)
    return frozenset(reached - {name})


def _secret_slots(slots: Mapping[str, Slot]) -> frozenset[str]:
    return frozenset(name for name, slot in slots.items() if isinstance(slot, SecretSlot))
