"""Read and write JSON with exact integers, without NaN, and with limited depth and size."""

import json
import re
from itertools import accumulate
from typing import Any, NoReturn

import orjson

from gateway.core.text import shown

MAX_DEPTH = 64
# Objects, lists and the commas in them: the cost of parsing depends on their number more than on the bytes.
MAX_PARTS = 200_000
MAX_NUMBER_CHARS = 1000  # far below the 4,300 digits that int() accepts
# Tables for bytes.translate: it takes milliseconds for megabytes, a regular expression some 50 ms.
_DIGITS = bytes(ord("0") if byte in b"0123456789" else ord(" ") for byte in range(256))
_LONG_INTEGER = b"0" * 19
_STRING = re.compile(rb'"[^"]*+"')
_NO_QUOTES_NOR_BRACKETS = bytes(byte for byte in range(256) if byte not in b'"[]{}')
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # as signed bytes: 1 and -1
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)


def read_json(data: bytes | str) -> Any:
    """Parse a JSON text (RFC 8259). The last of duplicate keys wins.

    Integers are exact, other numbers become the nearest double, or inf outside its range. Raises ValueError for invalid
    JSON, NaN, Infinity, more than MAX_DEPTH levels, and more than MAX_PARTS parts (TooManyParts).
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(raw) > MAX_PARTS and raw.count(b",") + raw.count(b"[") + raw.count(b"{") > MAX_PARTS:
        raise TooManyParts(f"more than {MAX_PARTS} members and elements")
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if "infinity" in error.msg:
            return _read_with_infinity(raw)
        raise ValueError(f"{error.msg} at line {error.lineno} column {error.colno}") from error
    if _LONG_INTEGER in raw.translate(_DIGITS):
        # orjson reads integers beyond 64 bits as doubles, the standard library exactly. orjson runs first because it
        # rejects invalid UTF-8, lone surrogates, 1e400 and deep nesting.
        value = _read_exactly(raw)
    if len(raw) > MAX_DEPTH and raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and deeper_than(raw, MAX_DEPTH):
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    return value


class TooManyParts(ValueError):
    """A text that would take too long to parse."""


def _read_with_infinity(raw: bytes) -> Any:
    """Parse a text with a number outside the range of a double, which orjson rejects. The number becomes inf."""
    try:
        value = _read_exactly(raw)
        write_json(value)  # rejects lone surrogates, which the standard library accepts
    except RecursionError as error:
        raise ValueError("it cannot be read as JSON") from error
    if deeper_than(raw, MAX_DEPTH):
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    return value


def _read_exactly(raw: bytes) -> Any:
    """Parse with the standard library. Raises ValueError."""
    try:
        return json.loads(raw, parse_constant=_no_constant)
    except ValueError as error:
        if "sys.set_int_max_str_digits" not in str(error):
            raise
        raise ValueError("an integer has too many digits") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def write_json(value: Any) -> bytes:
    """Serialise a value without whitespace. Integers are exact. Raises ValueError."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        if "64-bit" not in str(error):
            raise ValueError(str(error)) from error
        return write_json(_with_long_integers(value))


def _with_long_integers(value: Any) -> Any:
    """Replace integers beyond 64 bits, which orjson cannot write, by their text."""
    if isinstance(value, dict):
        return {name: _with_long_integers(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_with_long_integers(element) for element in value]
    is_long = isinstance(value, int) and not -(2**63) <= value < 2**64
    return orjson.Fragment(str(value)) if is_long else value


def read_number(text: str) -> int | float:
    """Parse a number by the JSON grammar (RFC 8259, section 6). Raises ValueError."""
    if len(text) > MAX_NUMBER_CHARS or not _NUMBER.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a number")
    return int(text) if text.lstrip("-").isdigit() else float(text)


def write_number(value: int | float) -> str:
    """Return the number's shortest JSON text."""
    return write_json(value).decode() if isinstance(value, float) else str(value)


def write_scalar(value: Any) -> str | None:
    """Return a string unchanged, and the JSON text of a number or boolean; None for any other value."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return write_number(value) if isinstance(value, int | float) else None


def deeper_than(raw: bytes, limit: int) -> bool:
    """Whether a valid JSON text has more than `limit` levels of nesting, in one pass over its brackets."""
    if b"\\" in raw:
        raw = raw.replace(b"\\\\", b"").replace(b'\\"', b"")  # now each remaining quote begins or ends a string
    # Most strings have no brackets: both of their quotes go, as may the end of a string and the start of the next one.
    marks = raw.translate(None, _NO_QUOTES_NOR_BRACKETS).replace(b'""', b"")
    if b'"' not in marks:
        # Only brackets are left. Most texts repeat a shallow form: without up to 4 inner levels, few brackets remain.
        outer = marks.replace(b"{}", b"").replace(b"[]", b"").replace(b"{}", b"").replace(b"[]", b"")
        if len(outer) <= 2 * (limit - 4):
            return False
    brackets = _STRING.sub(b"", marks).translate(_STEPS)
    return max(accumulate(memoryview(brackets).cast("b")), default=0) > limit
