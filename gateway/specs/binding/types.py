"""The types of values: each reads a node, reports what is wrong with it, and has a JSON Schema."""

import math
import operator
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.http.request import PublicUrl, Secret
from gateway.core.http.url import split_url
from gateway.core.recipe.model import Recipe
from gateway.specs.binding.place import Invalid, Place, meant
from gateway.specs.binding.table import Schema, Table, Type
from gateway.specs.yaml.core_schema import resolve
from gateway.specs.yaml.nodes import ListNode, MapNode

TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110, section 5.6.2
NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]*"
MEMBER_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_BOUNDS: Mapping[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "exclusiveMinimum": ("more than", operator.gt),
    "minimum": ("at least", operator.ge),
    "maximum": ("at most", operator.le),
}


@dataclass(frozen=True)
class Plain:
    """A type of values. In `json`, its JSON Schema, other types are in place of their schemas."""

    words: str
    read: Callable[[Place], Any]
    json: Schema

    def then(self, convert: Callable[[Any], Any]) -> "Plain":
        """Return the type of values that are converted after they are read."""
        return Plain(self.words, lambda place: convert(self.read(place)), self.json)


def text(pattern: str = "", *, max_chars: int | None = None, may_be_empty: bool = True) -> Plain:
    def read(place: Place) -> str:
        value = place.value
        if value in (None, "") and not may_be_empty:
            raise place.invalid("must not be empty")
        if not isinstance(value, str):
            raise place.expected("text", "" if value in (Invalid, None) else "put it in quotes")
        if max_chars is not None and len(value) > max_chars:
            raise place.invalid(f"{place.shown} has more than {max_chars} characters")
        if not re.fullmatch(pattern or "(?s:.*)", value):
            raise place.invalid(f"{place.shown} does not match {pattern}")
        return value

    limits = {"pattern": f"^(?:{pattern})$" if pattern else None, "maxLength": max_chars}
    return Plain("text", read, _schema("string", **limits, minLength=None if may_be_empty else 1))


def _schema(type_: str, **limits: Any) -> Schema:
    """Return a JSON Schema with the limits that are not None."""
    return {"type": type_} | {name: limit for name, limit in limits.items() if limit is not None}


def number(
    above: float | None = None, *, at_least: float | None = None, at_most: float | None = None, exact: bool = False
) -> Plain:
    """Return the type of numbers within bounds. An `exact` one stays an integer, also above 2^53."""
    json = _schema("number", exclusiveMinimum=above, minimum=at_least, maximum=at_most)

    def read(place: Place) -> float:
        value = _resolved(place)
        if type(value) not in (int, float):
            raise place.expected("a number")
        if not math.isfinite(value):
            raise place.expected("a finite number")
        _check_bounds(place, value, json)
        return value if exact and type(value) is int else float(value)

    return Plain("number", read, json)


def integer(above: int | None = None, *, at_least: int | None = None, at_most: int | None = None) -> Plain:
    json = _schema("integer", exclusiveMinimum=above, minimum=at_least, maximum=at_most)

    def read(place: Place) -> int:
        value = _resolved(place)
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int:
            raise place.expected("an integer")
        _check_bounds(place, value, json)
        return value

    return Plain("integer", read, json)


def _check_bounds(place: Place, value: float, json: Schema) -> None:
    for name, (words, fits) in _BOUNDS.items():
        if name in json and not fits(value, json[name]):
            raise place.expected(f"{words} {json[name]:g}")


def _resolved(place: Place) -> Any:
    """Return a scalar's value; text, such as that of a variable, counts as if written without quotes."""
    value = place.value
    try:
        return resolve(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _read_boolean(place: Place) -> bool:
    value = _resolved(place)
    if not isinstance(value, bool):
        raise place.expected("true or false")
    return value


def _read_secret(place: Place) -> Secret:
    place.scope.secrets.add(place.path)
    return Secret(NOT_EMPTY.read(place))


def _read_map(place: Place) -> dict[str, Any]:
    if not isinstance(place.node, MapNode):
        raise place.expected("a map")
    return dict(place.plain)


def word(known: Iterable[str]) -> Plain:
    """Return the type of one of these words; those of an enumeration become its members."""
    words = {str(each): each for each in known}

    def read(place: Place) -> str:
        value = place.value
        if not isinstance(value, str) or value not in words:
            if not isinstance(value, str) and value is not None:
                raise place.expected(" or ".join(words) if len(words) < 4 else "a word")
            raise place.invalid(f"unknown value {place.shown}", meant(value or "", words))
        return words[value]

    return Plain(", ".join(f"`{each}`" for each in words) if len(words) < 6 else "word", read, {"enum": list(words)})


def list_of(item: Type, *, at_least: int | None = None, at_most: int | None = None) -> Plain:
    def read(place: Place) -> tuple[Any, ...]:
        if not isinstance(place.node, ListNode):
            raise place.expected("a list")
        if len(place.node.items) < (at_least or 0):
            raise place.invalid(f"the list needs at least {at_least} item")
        if at_most is not None and len(place.node.items) > at_most:
            raise place.invalid(f"the list has more than {at_most} items")
        return tuple(_each(item, place))

    return Plain(f"list of {item.words}", read, _schema("array", items=item, minItems=at_least, maxItems=at_most))


def list_or(words: str, items: Type, other: Type) -> Plain:
    def read(place: Place) -> Any:
        return (items if isinstance(place.node, ListNode) else other).read(place)

    return Plain(words, read, {"anyOf": [items, other]})


def one_or_more(item: Type, *, at_least: int | None = None) -> Plain:
    """Return the type of a list whose only item may be written without brackets."""
    items = list_of(item, at_least=at_least)

    def read(place: Place) -> tuple[Any, ...]:
        return tuple(items.read(place)) if isinstance(place.node, ListNode) else (item.read(place),)

    return Plain(f"{item.words}, or a list", read, {"anyOf": [item, items]})


def map_of(item: Type, keys: str | Iterable[str] | None = None, *, at_least: int | None = None) -> Plain:
    """Return the type of a map whose keys match a pattern, or are among these words; else they are any text."""
    pattern = keys if isinstance(keys, str) else ""
    known = {} if keys is None or isinstance(keys, str) else {str(each): each for each in keys}

    def read(place: Place) -> dict[str, Any]:
        if not isinstance(place.node, MapNode):
            raise place.expected("a map")
        if len(place.entries) < (at_least or 0):
            raise place.invalid(f"the map needs at least {at_least} entry")
        bad: set[str | int] = {key for key in place.entries if pattern and not re.fullmatch(pattern, key)}
        for key in bad:
            place.error(f"key {key!r} does not match {pattern}", "", key, at_key=True)
        for key in place.entries.keys() - known.keys() if known else ():
            place.unknown_key(key, known)
            bad.add(key)
        values = _each(item, place, bad)
        if bad:
            raise Invalid
        return {known.get(key, key): value for key, value in zip(place.entries, values, strict=True)}

    names: Schema | None = {"pattern": f"^(?:{pattern})$"} if pattern else {"enum": list(known)} if known else None
    json = _schema("object", additionalProperties=item, propertyNames=names, minProperties=at_least)
    return Plain(f"map of {item.words}", read, json)


def _each(item: Type, place: Place, without: Collection[str | int] = ()) -> list[Any]:
    """Read everything in a list or map, and report all errors."""
    values, errors = [], False
    for below in place:
        try:
            if below.path[-1] not in without:
                values.append(item.read(below))
        except Invalid:
            errors = True
    if errors:
        raise Invalid
    return values


def by_kind(*tables: Table) -> Plain:
    """Return the type of maps whose key `kind` selects the table of their other keys."""
    known = {table.kind: table for table in tables}
    kinds = word(known)

    def read(place: Place) -> Any:
        if not isinstance(place.node, MapNode):
            raise place.expected("a map")
        if "kind" not in place.entries:
            raise place.invalid("'kind' is missing")
        return known[kinds.read(place.at("kind"))].read(place)

    return Plain("map", read, {"oneOf": list(tables)})


TEXT = text()
NOT_EMPTY = text(may_be_empty=False)
BOOLEAN = Plain("`true`, `false`", _read_boolean, {"type": "boolean"})
COUNT = integer(0)
POSITIVE = number(0)
SECRET = Plain("text", _read_secret, {"type": "string", "minLength": 1})
ANYTHING = Plain("any value", lambda at: at.plain, {})
MAP = Plain("map", _read_map, {"type": "object"})
TEXT_OR_MAP = Plain(
    "text or map", lambda at: (MAP if isinstance(at.node, MapNode) else TEXT).read(at), {"type": ["string", "object"]}
)
NAME = text(NAME_PATTERN, max_chars=100)


TEXT_SET = list_of(TEXT).then(frozenset)


def template(escape: Callable[[str], str] = str) -> Plain:
    """Return the type of text with `{names}`."""

    def read(place: Place) -> Any:
        return place.scope.compiler.text(TEXT.read(place), place.names, place.path, escape=escape)

    return Plain("text with names", read, {"type": "string"})


def _read_headers(place: Place) -> tuple[tuple[str, Any], ...]:
    _read_map(place)
    headers = []
    for below in place:
        if not re.fullmatch(TOKEN, below.name):
            below.error(f"{below.name!r} is not a valid header name", at_key=True)
        written = TEXT.read(below)
        if any(character in written for character in "\r\n\0"):
            below.error("a header value cannot contain a line break or a null byte")
        headers.append((below.name, template().read(below)))
    return tuple(headers)


EXPRESSION = Plain("expression", lambda at: at.scope.compiler.expression(at.plain, at.names, at.path), {})
TEMPLATE = template()
HEADERS = Plain(
    "map of text with names",
    _read_headers,
    {"type": "object", "additionalProperties": {"type": "string"}, "propertyNames": {"pattern": f"^{TOKEN}$"}},
)


def _read_recipe(place: Place) -> Recipe:
    name = TEXT.read(place)
    if name not in place.scope.recipes:
        place.scope.document.unknown(place.path, "recipe", name, place.scope.recipes)
        raise Invalid
    return place.scope.recipes[name]


RECIPE_NAME = Plain("name of a recipe", _read_recipe, {"type": "string"})


def _read_pattern(place: Place) -> re.Pattern[str]:
    source = TEXT.read(place)
    try:
        pattern = re.compile(source)
    except re.error as error:
        detail = "" if place.has_variable() else f": {error}"
        raise place.invalid(f"{source!r} is not a valid pattern{detail}") from None
    place.scope.document.slow_patterns([(place.path, source)])
    return pattern


PATTERN = Plain("pattern", _read_pattern, {"type": "string"})


def _read_url(place: Place) -> PublicUrl:
    try:
        return split_url(TEXT.read(place))
    except ValueError as error:
        raise place.invalid(str(error)) from None


BASE_URL = Plain("`http[s]://HOST[:PORT][/PREFIX]`", _read_url, {"type": "string", "pattern": "^https?://"})
