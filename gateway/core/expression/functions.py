"""The functions that expressions have in addition to JMESPath's own. All of them are pure.

Each raises ValueError for arguments that it does not accept. A null first argument gives `Function.of_null` without a
call.
"""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import floor
from typing import Any
from urllib.parse import urlsplit

from gateway.core.expression import arguments, arithmetic, reshape
from gateway.core.http.json import MAX_PARTS, read_json, read_number, write_json
from gateway.core.moments import format_moment, parse_moment
from gateway.core.text import shown

Evaluate = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Function:
    """A function, the number of its arguments, and its result for a null first argument.

    A `lazy` one gets the current value and, for each argument, the function that evaluates it.
    """

    call: Callable[..., Any]
    least: int
    most: int
    of_null: Any = None
    lazy: bool = False


def matches(text: Any, pattern: str) -> bool:
    """True if the whole text matches the pattern."""
    return _pattern(pattern).fullmatch(arguments.text(text)) is not None


def replace(text: Any, pattern: str, template: str) -> str:
    """Replace each match of the pattern by the template, in which `\\1` and `\\g<name>` are groups of the match."""
    try:
        return _pattern(pattern).sub(arguments.text(template), arguments.text(text))
    except (re.error, IndexError) as error:
        raise ValueError(f"the template {template!r} does not fit the pattern {pattern!r}: {error}") from error


def split(text: Any, separator: str) -> list[str]:
    """Return the parts of a text between separators; none of an empty text."""
    if not arguments.text(separator):
        raise ValueError("the separator is empty")
    if arguments.text(text).count(separator) >= MAX_PARTS:
        raise ValueError(f"more than {MAX_PARTS} parts")
    return text.split(separator) if text else []


def upper(text: Any) -> str:
    return arguments.text(text).upper()


def if_(value: Any, condition: Evaluate, then: Evaluate, otherwise: Evaluate | None = None) -> Any:
    """Evaluate `then` if the condition is true in JMESPath (not null, false or empty), else `otherwise`."""
    if not arguments.is_false(condition(value)):
        return then(value)
    return None if otherwise is None else otherwise(value)


def is_integer(value: Any) -> bool:
    """True if the value is a number that was written without a fraction."""
    return isinstance(value, int) and not isinstance(value, bool)


def to_number(value: Any) -> int | float | None:
    """Read a number by JSON's grammar. Anything else gives null, like JMESPath's own to_number()."""
    if isinstance(value, str):
        try:
            return read_number(value)
        except ValueError:
            return None
    return value if arguments.is_number(value) else None


def round_(value: Any) -> int:
    """Round a number or its text to the nearest integer, halves to the even one."""
    return round(Fraction(arguments.number(value, "number")))


def from_json(text: Any) -> Any:
    """Parse JSON. A value that is not text is returned unchanged."""
    return read_json(text) if isinstance(text, str) else text


def to_json(value: Any) -> str:
    """Serialise without whitespace."""
    return write_json(value).decode()


def path_of(url: Any) -> str:
    """Return the path and query of a URL. The host is left out because the server may have it wrong."""
    parts = urlsplit(arguments.text(url))
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def format_time(time_ns: Any, pattern: str) -> str:
    """Write a time in UTC by a strftime pattern, in English."""
    if not is_integer(time_ns):
        raise ValueError(f"{shown(time_ns)} is not a time in nanoseconds")
    return format_moment(time_ns, arguments.text(pattern))


def parse_time(text: Any, pattern: str | None = None) -> int:
    """Read a time by ISO 8601 or a strptime pattern, as nanoseconds; in UTC if it has no zone."""
    return parse_moment(arguments.text(text), None if pattern is None else arguments.text(pattern))


def _scaled(factor: int | Fraction) -> Callable[[Any], int]:
    """Return a function that converts a time, a number or its text, to another unit, rounding down."""
    return lambda value: floor(Fraction(arguments.number(value, "time")) * factor)


@lru_cache(maxsize=1024)
def _pattern(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a pattern: {error}") from error


FUNCTIONS = {
    "add": Function(arithmetic.binary(operator.add), 2, 2),
    "div": Function(arithmetic.binary(arithmetic.divide), 2, 2),
    "flatten": Function(reshape.flatten, 2, 2),
    "format_time": Function(format_time, 2, 2),
    "from_items": Function(reshape.from_items, 1, 1),
    "from_json": Function(from_json, 1, 1),
    "from_ms": Function(_scaled(1_000_000), 1, 1),
    "from_ns": Function(_scaled(1), 1, 1),
    "from_s": Function(_scaled(1_000_000_000), 1, 1),
    "if": Function(if_, 2, 3, lazy=True),
    "is_integer": Function(is_integer, 1, 1, of_null=False),
    "items": Function(reshape.items, 1, 1),
    "lookup": Function(reshape.lookup, 2, 2),
    "matches": Function(matches, 2, 2, of_null=False),
    "mod": Function(arithmetic.binary(arithmetic.remainder), 2, 2),
    "mul": Function(arithmetic.binary(operator.mul), 2, 2),
    "nest": Function(reshape.nest, 2, 2),
    "omit": Function(reshape.omit, 2, 2),
    "parse_time": Function(parse_time, 1, 2),
    "path_of": Function(path_of, 1, 1),
    "pivot": Function(reshape.pivot, 3, 3),
    "replace": Function(replace, 3, 3),
    "round": Function(round_, 1, 1),
    "split": Function(split, 2, 2),
    "sub": Function(arithmetic.binary(operator.sub), 2, 2),
    "to_json": Function(to_json, 1, 1),
    "to_ms": Function(_scaled(Fraction(1, 1_000_000)), 1, 1),
    "to_number": Function(to_number, 1, 1),
    "to_s": Function(_scaled(Fraction(1, 1_000_000_000)), 1, 1),
    "unpivot": Function(reshape.unpivot, 2, 2, of_null=[]),
    "upper": Function(upper, 1, 1),
    "weigh": Function(arithmetic.weigh, 2, 2),
    "zip": Function(reshape.zip_, 2, 2),
}
