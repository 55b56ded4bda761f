"""From a recipe's YAML to a recipe: templates compiled, steps ordered, the whole checked."""

import re
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from gateway.core.recipe.canonical import HeaderRule, PairsStep
from gateway.core.recipe.dataflow import masked_names, reads_body, signed_names, signed_parts
from gateway.core.recipe.filters import Kind
from gateway.core.recipe.model import (
    Carrier,
    ChainStep,
    HmacStep,
    KeySlot,
    LinesStep,
    NonceSlot,
    Recipe,
    SignatureSlot,
    Slot,
    Step,
    TextStep,
    TimeSlot,
)
from gateway.core.recipe.syntax import REQUEST_NAMES, Template
from gateway.core.text import did_you_mean
from gateway.proof.vectors import Vector
from gateway.specs.check.recipe import check_bindings, check_recipe
from gateway.specs.schema.carriers import build_carrier
from gateway.specs.schema.recipe_models import ChosenSlotSpec, PairsSpec, RecipeSpec, StepSpec
from gateway.specs.schema.recipe_parts import NONE, RecipeParts, all_kinds
from gateway.specs.schema.slots import build_slot, chosen_rule
from gateway.specs.schema.vector import build_vector
from gateway.specs.yaml.document import Document
from gateway.specs.yaml.nodes import Path, to_python


def build_recipe(document: Document) -> tuple[Recipe, list[Vector]] | None:
    """Return the recipe and its vectors, or None when the document has errors; they are reported."""
    spec = document.read(RecipeSpec, to_python(document.node))
    if spec is None:
        return None
    parts = RecipeParts(document, spec, all_kinds(spec))
    recipe = _build(parts)
    vectors = [vector for index in range(len(spec.vectors)) if (vector := build_vector(parts, index)) is not None]
    return None if document.errors else (recipe, vectors)


def _build(parts: RecipeParts) -> Recipe:
    spec = parts.spec
    for section, names in (("slots", {*REQUEST_NAMES, "secret"}), ("steps", parts.kinds.keys())):
        for name in sorted(getattr(spec, section).keys() & names):
            what = f"{name!r} is already the name of a slot or of a part of the request"
            parts.document.error([section, name], what, at_key=True)
    steps: dict[str, Step] = {}
    for name in _order(parts):
        step = _step(parts, spec.steps[name], ["steps", name])
        steps[name] = step
        parts.kinds[name] = _kind_of(step)
    slots = {name: build_slot(parts, name, slot) for name, slot in spec.slots.items()}
    carriers = tuple(build_carrier(parts, index, slots) for index in range(len(spec.carry)))
    accept = tuple(_binding(parts, index) for index in range(len(spec.accept)))
    if not parts.document.errors:
        # What is broken already would only be reported again as missing.
        check_recipe(parts, slots, list(carriers), steps)
        check_bindings(parts, accept, slots, steps)
    return Recipe(
        spec.recipe,
        slots,
        carriers,
        steps,
        accept,
        _replay(parts, slots, carriers, steps),
        masked_names(slots, steps),
        signed_parts(slots, carriers, steps),
        reads_body(slots, carriers, steps, accept),
    )


def _binding(parts: RecipeParts, index: int) -> dict[str, Template]:
    bound = {}
    for name, source in parts.spec.accept[index].items():
        known = {"host", "path", *parts.spec.steps}
        if name not in known:
            parts.document.error(["accept", index, name], f"{name!r} cannot be bound anew", did_you_mean(name, known))
        bound[name] = parts.template(source, ["accept", index, name])
    return bound


def _order(parts: RecipeParts) -> list[str]:
    """Return the steps' names such that each stands after what it reads; a cycle is reported."""
    reads = {name: _names_in(step) & parts.spec.steps.keys() for name, step in parts.spec.steps.items()}
    try:
        return list(TopologicalSorter(reads).static_order())
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        parts.document.error(["steps", error.args[1][0]], f"the steps go in a circle: {circle}")
        return []


def _step(parts: RecipeParts, spec: StepSpec, path: Path) -> Step:
    present = [name for name in ("text", "lines", "pairs", "hmac", "chain") if getattr(spec, name) is not None]
    if len(present) != 1:
        parts.document.error(path, "a step is one of text, lines, pairs, hmac and chain")
    if spec.lines is not None:
        return LinesStep(tuple(parts.template(line, [*path, "lines", at]) for at, line in enumerate(spec.lines)))
    if spec.pairs is not None:
        return _pairs(parts, spec.pairs, [*path, "pairs"])
    if spec.hmac is not None:
        key = parts.template(spec.hmac.key, [*path, "hmac", "key"])
        return HmacStep(spec.hmac.hash, key, parts.template(spec.hmac.of, [*path, "hmac", "of"]))
    if spec.chain is not None:
        key = parts.template(spec.chain.key, [*path, "chain", "key"])
        links = [parts.template(link, [*path, "chain", "of", at]) for at, link in enumerate(spec.chain.of)]
        return ChainStep(spec.chain.hash, key, tuple(links))
    return TextStep(NONE if spec.text is None else parts.template(spec.text, [*path, "text"]))


def _pairs(parts: RecipeParts, spec: PairsSpec, path: Path) -> PairsStep:
    sides = {"k": Kind.TEXT, "v": Kind.TEXT}
    if bool(spec.slots) != ("slots" in spec.from_):
        parts.document.error(path, "`from: slots` and `slots` belong together")
    if ("headers" in spec.from_) != ((spec.list_ is not None) != (spec.choose is not None)):
        parts.document.error(path, "`from: headers` goes with one of `list` and `choose`")
    chosen = [name for name, slot in parts.spec.slots.items() if isinstance(slot, ChosenSlotSpec)]
    if spec.list_ is not None and spec.list_ not in chosen:
        hint = did_you_mean(spec.list_, chosen)
        parts.document.error([*path, "list"], f"no slot of kind chosen is named {spec.list_!r}", hint)
    item_empty = spec.item_empty
    return PairsStep(
        sources=tuple(spec.from_),
        slots={name: parts.template(text, [*path, "slots", name]) for name, text in spec.slots.items()},
        header_list=spec.list_,
        choose=HeaderRule() if spec.choose is None else chosen_rule(spec.choose),
        pseudo={name: parts.template(text, [*path, "pseudo", name]) for name, text in spec.pseudo.items()},
        except_names=frozenset(spec.except_),
        key=parts.filters("k", spec.key, [*path, "key"]),
        value=parts.filters("v", spec.value, [*path, "value"]),
        sort=spec.sort,
        item=parts.template(spec.item, [*path, "item"], sides),
        item_empty=None if item_empty is None else parts.template(item_empty, [*path, "item_empty"], sides),
        skip_empty=spec.skip_empty,
        skip_bare=spec.skip_bare,
        join=spec.join,
        prefix=spec.prefix,
        end=spec.end,
        first_index=spec.base,
    )


def _kind_of(step: Step) -> Kind:
    if isinstance(step, TextStep):
        return step.of.kind
    return Kind.DIGEST if isinstance(step, HmacStep | ChainStep) else Kind.TEXT


def _replay(
    parts: RecipeParts, slots: Mapping[str, Slot], carriers: tuple[Carrier, ...], steps: Mapping[str, Step]
) -> tuple[str, ...]:
    policy = parts.spec.replay
    if policy == "none":
        return ()
    if policy == "signature":
        return tuple(name for name, slot in slots.items() if isinstance(slot, KeySlot | SignatureSlot))
    if isinstance(policy, list):
        for index, name in enumerate(policy):
            if name not in slots:
                parts.document.error(["replay", index], f"no slot is named {name!r}", did_you_mean(name, slots.keys()))
        return tuple(policy)
    covered, read = signed_parts(slots, carriers, steps), signed_names(slots, steps)
    left_out = {name for step in (steps.get(each) for each in read) for name in getattr(step, "except_names", ())}
    signed = read | {
        name
        for carrier in carriers
        for name in carrier.slots
        if _place_of(carrier) & covered and carrier.name not in left_out
    }
    if any(isinstance(slot, NonceSlot) and name in signed for name, slot in slots.items()):
        return tuple(name for name, slot in slots.items() if isinstance(slot, KeySlot | NonceSlot | TimeSlot))
    return ()


def _place_of(carrier: Carrier) -> set[str]:
    """Return the parts of a request that a carrier may sit in."""
    if carrier.place == "header":
        return {f"header.{carrier.name.lower()}"}
    in_body = {"param": {"query", "form", "json", "body"}, "form": {"form", "body"}, "json": {"json", "body"}}
    return in_body.get(carrier.place, {"query"})


def _names_in(spec: Any) -> set[str]:
    """Return each name in braces anywhere in a step as written."""
    if isinstance(spec, str):
        return {name.split("|")[0] for name in re.findall(r"\{([^{}]*)\}", spec)}
    if isinstance(spec, Mapping):
        return {name for value in spec.values() for name in _names_in(value)}
    if isinstance(spec, list):
        return {name for value in spec for name in _names_in(value)}
    return _names_in(spec.model_dump()) if hasattr(spec, "model_dump") else set()
