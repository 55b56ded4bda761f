"""Templates of recipes: text with `{name}` or `{name|filter|filter:argument}`, typed when the spec is loaded."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from gateway.core.recipe.filters import FILTERS, Filter, Kind, to_bytes
from gateway.core.text import did_you_mean

Value = str | bytes


class Values(Protocol):
    """Whatever gives the value of a name."""

    def __getitem__(self, name: str, /) -> Value: ...


# What every template may read of a request. `header.NAME` is text too, empty when the header is absent.
REQUEST_NAMES = {
    "method": Kind.TEXT,
    "scheme": Kind.TEXT,
    "host": Kind.TEXT,
    "target": Kind.TEXT,
    "path": Kind.TEXT,
    "query": Kind.TEXT,
    "url": Kind.TEXT,
    "body": Kind.BYTES,
}
_PLACE = re.compile(r"\{([^{}]*)\}|[{}]")


class RecipeError(Exception):
    """A recipe cannot work: what is wrong, and what to do."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Reference:
    """A name within a template, with the filters its value passes."""

    name: str
    filters: tuple[tuple[Filter, str], ...]
    kind: Kind

    def value(self, values: Values) -> Value:
        value = values[self.name]
        for step, argument in self.filters:
            value = step.apply(value, argument)
        return value


@dataclass(frozen=True, slots=True)
class Template:
    """Text and references, one after the other; `kind` is what they join to."""

    source: str
    parts: tuple[str | Reference, ...]
    kind: Kind

    @property
    def names(self) -> frozenset[str]:
        return frozenset(part.name for part in self.parts if isinstance(part, Reference))

    def value(self, values: Values) -> Value:
        filled = [part if isinstance(part, str) else part.value(values) for part in self.parts]
        if len(filled) == 1:
            return filled[0]
        if self.kind is Kind.TEXT:
            return "".join(part for part in filled if isinstance(part, str))
        return b"".join(to_bytes(part) for part in filled)


def compile_template(source: str, kinds: Mapping[str, Kind]) -> Template:
    """Compile a template whose names have these kinds. Raises RecipeError."""
    parts: list[str | Reference] = []
    end = 0
    for match in _PLACE.finditer(source):
        if match.start() > end:
            parts.append(source[end : match.start()])
        if match[1] is None:
            raise RecipeError(f"{source!r} has a brace that belongs to no name")
        parts.append(_reference(match[1], kinds))
        end = match.end()
    if end < len(source) or not parts:
        parts.append(source[end:])
    return Template(source, tuple(parts), _joined_kind(source, parts))


def _reference(text: str, kinds: Mapping[str, Kind]) -> Reference:
    name, *filters = text.split("|")
    kind = Kind.TEXT if name.startswith("header.") else kinds.get(name)
    if kind is None:
        raise RecipeError(f"nothing here is named {name!r}", did_you_mean(name, kinds.keys()))
    applied = []
    for part in filters:
        word, colon, argument = part.partition(":")
        step = FILTERS.get(word)
        if step is None:
            raise RecipeError(f"there is no filter {word!r}", did_you_mean(word, FILTERS.keys()))
        if colon and step.argument is None:
            raise RecipeError(f"the filter {word!r} takes no argument")
        if len(argument) < step.least_argument:
            raise RecipeError(f"the filter {word!r} needs an argument", f"write {word}:{'x' * step.least_argument}")
        if kind not in step.takes:
            raise RecipeError(f"{{{text}}}: {word!r} does not take {_a(kind)}", "hash text or bytes, encode a digest")
        applied.append((step, argument if colon else step.argument or ""))
        kind = step.gives
    return Reference(name, tuple(applied), kind)


def _joined_kind(source: str, parts: list[str | Reference]) -> Kind:
    kinds = {part.kind for part in parts if isinstance(part, Reference)}
    if len(parts) == 1:
        return next(iter(kinds), Kind.TEXT)
    if Kind.DIGEST in kinds:
        raise RecipeError(f"{source!r} puts a digest into text", "encode it: {…|hex} or {…|base64}")
    return Kind.BYTES if Kind.BYTES in kinds else Kind.TEXT


def _a(kind: Kind) -> str:
    return kind if kind is not Kind.DIGEST else "a digest"
