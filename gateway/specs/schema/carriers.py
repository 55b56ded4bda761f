"""From the YAML of a recipe's `carry` to carriers."""

import re
from collections.abc import Mapping
from typing import get_args

from gateway.core.recipe.filters import Kind
from gateway.core.recipe.model import Carrier, Place, Slot
from gateway.core.recipe.syntax import Base64Syntax, ParamsSyntax, RecipeError, Syntax, TextSyntax, compile_syntax
from gateway.specs.schema.recipe_models import CarrierSpec
from gateway.specs.schema.recipe_parts import NONE, RecipeParts
from gateway.specs.yaml.nodes import Path


def build_carrier(parts: RecipeParts, index: int, slots: Mapping[str, Slot]) -> Carrier:
    spec = parts.spec.carry[index]
    path: Path = ["carry", index]
    written = {name: getattr(spec, "json_" if name == "json" else name) for name in get_args(Place)}
    places: list[Place] = [place for place in get_args(Place) if written[place] is not None]
    if len(places) != 1:
        parts.document.error(path, f"a carrier sits in one of {', '.join(get_args(Place))}")
    place: Place = places[0] if places else "header"
    chars = {name: slot.chars for name, slot in slots.items()}
    return Carrier(place, written[place] or "", _syntax(parts, spec, chars, path), spec.type, spec.optional)


def _syntax(parts: RecipeParts, spec: CarrierSpec, chars: Mapping[str, str], path: Path) -> Syntax:
    if (spec.value is None) == (not spec.params):
        parts.document.error(path, "a carrier has either `value` or `params`")
    if (spec.scheme is None) != (spec.as_ is None and not spec.params):
        parts.document.error(path, "`scheme` goes with `params` or with `as: base64`")
    if spec.params:
        params = {name: _value(parts, text, chars, [*path, "params", name]) for name, text in spec.params.items()}
        return ParamsSyntax(spec.scheme or "", params, spec.sep, spec.quote)
    value = _value(parts, spec.value or "", chars, [*path, "value"])
    return value if spec.as_ is None else Base64Syntax(spec.scheme or "", value)


def _value(parts: RecipeParts, source: str, chars: Mapping[str, str], path: Path) -> TextSyntax:
    template = parts.template(source, path, dict.fromkeys(chars, Kind.TEXT))
    try:
        return compile_syntax(template, chars)
    except RecipeError as error:
        parts.document.error(path, error.what, error.hint)
        return TextSyntax(NONE, re.compile(""))
