"""Checks the arguments of expression functions. Each check raises ValueError."""

from math import isfinite
from typing import Any

from gateway.core.http.json import read_number
from gateway.core.text import shown


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is not text")
    return value


def mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{shown(value)} is not a map")
    return value


def sequence(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{shown(value)} is not a list")
    return value


def number(value: Any, what: str) -> int | float:
    """Return a finite number, or the number in a text by JSON's grammar; `what` names it in the error."""
    found = read_number(value) if isinstance(value, str) else value
    if not is_number(found) or (isinstance(found, float) and not isfinite(found)):
        raise ValueError(f"{shown(value)} is not a {what}")
    return found


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_false(value: Any) -> bool:
    """Whether a value is false in JMESPath: null, false or empty. Zero is true."""
    return not value and (value is None or value is False or not isinstance(value, (int, float)))
