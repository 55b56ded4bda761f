"""The functions that expressions have beyond JMESPath's own. All of them are pure.

Each raises ValueError for what it cannot take; a null first argument never reaches it, see `Function.of_null`.
A function stands here only while a shipped spec uses it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import floor, isfinite
from typing import Any
from urllib.parse import urlsplit

from gateway.core.expression import reshape
from gateway.core.expression.words import in_words
from gateway.core.http.json import read_json, read_number, write_json
from gateway.core.moments import format_moment


@dataclass(frozen=True, slots=True)
class Function:
    """A function, how many arguments it takes, and what it gives for a null first argument.

    With `sees_null` it is called with that null as well.
    """

    call: Callable[..., Any]
    least: int
    most: int
    of_null: Any = None
    sees_null: bool = False


def matches(text: Any, pattern: str) -> bool:
    """Tell whether the whole text matches the pattern."""
    return _pattern(pattern).fullmatch(_text(text)) is not None


def substitute(text: Any, pattern: str, by: str) -> str:
    """Put `by`, as it is, in the place of each match of the pattern."""
    by = _text(by)
    return _pattern(pattern).sub(lambda match: by, _text(text))


def upper(text: Any) -> str:
    return _text(text).upper()


def if_(condition: Any, then: Any, otherwise: Any = None) -> Any:
    """Return `on_failure` where the condition is true as JMESPath sees it: null, false and what is empty are not."""
    return otherwise if condition is None or condition is False or condition in ("", [], {}) else then


def is_integer(value: Any) -> bool:
    """Tell whether the value is a number without a fraction in its text."""
    return isinstance(value, int) and not isinstance(value, bool)


def to_number(value: Any) -> int | float | None:
    """Read a number by JSON's grammar; what is none gives null, as JMESPath has it."""
    if isinstance(value, str):
        try:
            return read_number(value)
        except ValueError:
            return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def round_(value: Any) -> int:
    """Return the nearest integer, halves to the even one; text is read by JSON's number grammar."""
    return round(Fraction(_number(value, "number")))


def from_json(text: Any) -> Any:
    """Parse JSON; what is not text is given back as it is."""
    return read_json(text) if isinstance(text, str) else text


def to_json(value: Any) -> str:
    """Serialise without blanks."""
    return write_json(value).decode()


def path_of(url: Any) -> str:
    """Return path and query of a URL, whatever its host: the host a server believes it has is not to be trusted."""
    parts = urlsplit(_text(url))
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def format_time(time_ns: Any, pattern: str) -> str:
    """Write a time in UTC by a strftime pattern, in English."""
    if isinstance(time_ns, bool) or not isinstance(time_ns, int):
        raise ValueError(f"{in_words(time_ns)} is not a time in nanoseconds")
    return format_moment(time_ns, _text(pattern))


def from_s(value: Any) -> int:
    """Turn epoch seconds, a number or its text, into nanoseconds."""
    return _to_integer(value, 1_000_000_000)


def from_ms(value: Any) -> int:
    """Turn epoch milliseconds, a number or its text, into nanoseconds."""
    return _to_integer(value, 1_000_000)


def from_ns(value: Any) -> int:
    """Turn epoch nanoseconds, a number or its text, into an integer."""
    return _to_integer(value, 1)


def to_s(time_ns: Any) -> int:
    """Turn nanoseconds into whole epoch seconds, rounding down."""
    return _to_integer(time_ns, Fraction(1, 1_000_000_000))


def to_ms(time_ns: Any) -> int:
    """Turn nanoseconds into whole epoch milliseconds, rounding down."""
    return _to_integer(time_ns, Fraction(1, 1_000_000))


def _to_integer(value: Any, factor: int | Fraction) -> int:
    return floor(Fraction(_number(value, "time")) * factor)


def _number(value: Any, what: str) -> int | float:
    number = read_number(value) if isinstance(value, str) else value
    if isinstance(number, bool) or not (isinstance(number, int) or (isinstance(number, float) and isfinite(number))):
        raise ValueError(f"{in_words(value)} is not a {what}")
    return number


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{in_words(value)} is not text")
    return value


@lru_cache(maxsize=1024)
def _pattern(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a pattern: {error}") from error


FUNCTIONS = {
    "flatten": Function(reshape.flatten, 2, 2),
    "format_time": Function(format_time, 2, 2),
    "from_items": Function(reshape.from_items, 1, 1),
    "from_json": Function(from_json, 1, 1),
    "from_ms": Function(from_ms, 1, 1),
    "from_ns": Function(from_ns, 1, 1),
    "from_s": Function(from_s, 1, 1),
    "if": Function(if_, 2, 3, sees_null=True),
    "is_integer": Function(is_integer, 1, 1, of_null=False),
    "items": Function(reshape.items, 1, 1),
    "lookup": Function(reshape.lookup, 2, 2),
    "matches": Function(matches, 2, 2, of_null=False),
    "nest": Function(reshape.nest, 2, 2),
    "omit": Function(reshape.omit, 2, 2),
    "path_of": Function(path_of, 1, 1),
    "pivot": Function(reshape.pivot, 3, 3),
    "round": Function(round_, 1, 1),
    "substitute": Function(substitute, 3, 3),
    "to_json": Function(to_json, 1, 1),
    "to_ms": Function(to_ms, 1, 1),
    "to_number": Function(to_number, 1, 1),
    "to_s": Function(to_s, 1, 1),
    "unpivot": Function(reshape.unpivot, 2, 2, of_null=[]),
    "upper": Function(upper, 1, 1),
}
