"""The functions that change the shape of data: maps and lists of pairs, wide and long rows, flat and nested names.

Each raises ValueError for what it cannot take.
"""

import re
from collections.abc import Iterator
from typing import Any

from gateway.core.expression.words import in_words

MAX_NESTING = 64
# Names of maps within maps may add up to thousands of times what was read.
MAX_NAMES_CHARS = 8_388_608

_STYLE = re.compile(r"([^A-Za-z0-9])(?:([A-Za-z]+)\1)?([01])")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)


def items(value: Any) -> list[list[Any]]:
    """Turn a map into a list of [name, value]."""
    return [[name, member] for name, member in _map(value).items()]


def from_items(pairs: Any) -> dict[str, Any]:
    """Turn a list of [name, value] into a map; where a name stands twice, the last counts."""
    built = {}
    for pair in _list(pairs):
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str):
            raise ValueError("not a list of names and values")
        built[pair[0]] = pair[1]
    return built


def lookup(table: Any, key: Any) -> Any:
    """Return the member of that name; null for a name that is null or not there."""
    return _map(table).get(key) if isinstance(key, str) else None


def omit(value: Any, names: Any) -> dict[str, Any]:
    """Return the map without these members."""
    return {name: member for name, member in _map(value).items() if name not in _list(names)}


def unpivot(value: Any, names: Any) -> list[dict[str, Any]]:
    """Turn members into rows {name, value}: those of these names that are not null, or, without names, all numbers.

    What is asked for by name and is no number comes along, so that it is refused and not overlooked.
    """
    members = _map(value)
    if names is None:
        return [{"name": name, "value": member} for name, member in members.items() if _is_number(member)]
    return [{"name": name, "value": members[name]} for name in _list(names) if members.get(name) is not None]


def pivot(rows: Any, name_member: str, value_member: str) -> list[dict[str, Any]]:
    """Turn rows into wide ones: those alike in all other members become one, with a member for each of their names.

    A name that stands twice begins a further row, so that no value is lost.
    """
    wide: list[tuple[dict[str, Any], dict[str, Any]]] = []
    open_rows: dict[str, int] = {}
    for row in _list(rows):
        others = {name: member for name, member in _map(row).items() if name not in (name_member, value_member)}
        name = row.get(name_member)
        if not isinstance(name, str):
            raise ValueError(f"{name_member} is not text")
        alike = repr(sorted(others.items(), key=lambda member: member[0]))
        at = open_rows.get(alike)
        if at is None or name in wide[at][1]:
            at = open_rows[alike] = len(wide)
            wide.append((others, {}))
        wide[at][1][name] = row.get(value_member)
    return [{**others, **values} for others, values in wide]


def flatten(value: Any, style: str) -> dict[str, Any]:
    """Turn nested maps and lists into one map with names such as `A.0.B`; null members are left out.

    `style` is the separator, a word if one stands before each index, and the first index: `.0`, `.member.1`.
    """
    built: dict[str, Any] = {}
    chars = 0
    for name, member in _flat("", _map(value), *_style(style)):
        chars += len(name)
        if chars > MAX_NAMES_CHARS:
            raise ValueError(f"its names would take more than {MAX_NAMES_CHARS} characters")
        built[name] = member
    return built


def nest(value: Any, style: str) -> dict[str, Any]:
    """Turn names such as `A.0.B` back into nested maps and lists; gaps between indices are closed. See `flatten`."""
    separator, word, base = _style(style)
    root: dict[str, Any] = {}
    for name, member in _map(value).items():
        *path, last = name.split(separator)
        if len(path) >= MAX_NESTING:
            raise ValueError(f"nested deeper than {MAX_NESTING} levels")
        here = root
        for step in path:
            here = here.setdefault(step, _Branch())
            if not isinstance(here, _Branch):
                raise ValueError(f"{name!r} stands below a value")
        if last in here:
            raise ValueError(f"{name!r} stands above others")
        here[last] = member
    return {name: _listed(member, word, base) for name, member in root.items()}


class _Branch(dict[str, Any]):
    """What was nested here, told apart from a value that is a map itself."""


def _listed(value: Any, word: str, base: int) -> Any:
    if not isinstance(value, _Branch):
        return value
    inner = value.get(word) if word else value
    if isinstance(inner, _Branch) and (not word or len(value) == 1) and all(map(_INDEX.fullmatch, inner)):
        order = sorted(inner, key=int)
        if int(order[0]) < base:
            raise ValueError(f"the index {order[0]} is below {base}")
        return [_listed(inner[index], word, base) for index in order]
    return {name: _listed(member, word, base) for name, member in value.items()}


def _flat(prefix: str, value: Any, separator: str, word: str, base: int) -> Iterator[tuple[str, Any]]:
    below: Iterator[tuple[str, Any]] | None = None
    if isinstance(value, dict):
        below = iter(value.items())
    elif isinstance(value, list):
        head = f"{word}{separator}" if word else ""
        below = ((f"{head}{index}", member) for index, member in enumerate(value, base))
    if below is None:
        if value is not None:
            yield prefix, value
        return
    for name, member in below:
        yield from _flat(f"{prefix}{separator}{name}" if prefix else name, member, separator, word, base)


def _style(style: Any) -> tuple[str, str, int]:
    match = _STYLE.fullmatch(style) if isinstance(style, str) else None
    if match is None:
        raise ValueError(f"{style!r} is not a style such as '.0' or '.member.1'")
    return match[1], match[2] or "", int(match[3])


def _map(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{in_words(value)} is not a map")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{in_words(value)} is not a list")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
