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

from gateway.core.json import read_json, read_number, write_json
from gateway.core.moments import write_moment


@dataclass(frozen=True, slots=True)
class Function:
    """A function, how many arguments it takes, and what it gives for a null first argument."""

    call: Callable[..., Any]
    least: int
    most: int
    of_null: Any = None


def matches(text: Any, pattern: str) -> bool:
    """Tell whether the whole text matches the pattern."""
    return _pattern(pattern).fullmatch(_text(text)) is not None


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
        raise ValueError(f"{_in_words(time_ns)} is not a time in nanoseconds")
    return write_moment(time_ns, _text(pattern))


def from_ms(value: Any) -> int:
    """Turn epoch milliseconds, a number or its text, into nanoseconds."""
    return _to_integer(value, 1_000_000)


def to_ms(time_ns: Any) -> int:
    """Turn nanoseconds into whole epoch milliseconds, rounding down."""
    return _to_integer(time_ns, Fraction(1, 1_000_000))


def _to_integer(value: Any, factor: int | Fraction) -> int:
    number = read_number(value) if isinstance(value, str) else value
    if isinstance(number, bool) or not (isinstance(number, int) or (isinstance(number, float) and isfinite(number))):
        raise ValueError(f"{_in_words(value)} is not a time")
    return floor(Fraction(number) * factor)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{_in_words(value)} is not text")
    return value


def _in_words(value: Any) -> str:
    return repr(value) if isinstance(value, int | float | str) else f"a {type(value).__name__}"


@lru_cache(maxsize=1024)
def _pattern(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a pattern: {error}") from error


FUNCTIONS = {
    "format_time": Function(format_time, 2, 2),
    "from_json": Function(from_json, 1, 1),
    "from_ms": Function(from_ms, 1, 1),
    "matches": Function(matches, 2, 2, of_null=False),
    "path_of": Function(path_of, 1, 1),
    "to_json": Function(to_json, 1, 1),
    "to_ms": Function(to_ms, 1, 1),
}
