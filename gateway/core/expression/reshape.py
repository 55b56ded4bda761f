"""Expression functions that reshape data: maps and lists of pairs, wide and long rows, flat and nested names.

Each raises ValueError for arguments that it does not accept.
"""

import re
from collections.abc import Iterator
from typing import Any

from gateway.core.expression.arguments import is_number, mapping, sequence

MAX_NESTING = 64
# The flattened names of nested maps may be thousands of times longer than the input.
MAX_NAMES_CHARS = 8_388_608

_STYLE = re.compile(r"([^A-Za-z0-9])(?:([A-Za-z]+)\1)?([01])")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)


def items(value: Any) -> list[list[Any]]:
    """Convert a map to a list of [name, value]."""
    return [[name, member] for name, member in mapping(value).items()]


def from_items(pairs: Any) -> dict[str, Any]:
    """Convert a list of [name, value] to a map. The last of duplicate names counts."""
    built = {}
    for pair in sequence(pairs):
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str):
            raise ValueError("not a list of names and values")
        built[pair[0]] = pair[1]
    return built


def zip_(names: Any, values: Any) -> list[list[Any]]:
    """Join two lists of equal length to a list of pairs."""
    if len(sequence(names)) != len(sequence(values)):
        raise ValueError(f"a list of {len(names)} and one of {len(values)} elements cannot be paired")
    return [list(pair) for pair in zip(names, values, strict=True)]


def lookup(table: Any, key: Any) -> Any:
    """Return the member with that name; null for a null or unknown name."""
    return mapping(table).get(key) if isinstance(key, str) else None


def omit(value: Any, names: Any) -> dict[str, Any]:
    """Return the map without these members."""
    return {name: member for name, member in mapping(value).items() if name not in sequence(names)}


def unpivot(value: Any, names: Any) -> list[dict[str, Any]]:
    """Convert members to rows {name, value}: those in `names` that are not null, or all numbers if `names` is null.

    A named member that is not a number is included, so it is rejected later and not silently lost.
    """
    members = mapping(value)
    if names is None:
        return [{"name": name, "value": member} for name, member in members.items() if is_number(member)]
    return [{"name": name, "value": members[name]} for name in sequence(names) if members.get(name) is not None]


def pivot(rows: Any, name_member: str, value_member: str) -> list[dict[str, Any]]:
    """Join rows that are equal in all other members into one wide row, with a member for each of their names.

    A repeated name starts another row, so no value is lost.
    """
    wide: list[tuple[dict[str, Any], dict[str, Any]]] = []
    open_rows: dict[str, int] = {}
    for row in sequence(rows):
        others = {name: member for name, member in mapping(row).items() if name not in (name_member, value_member)}
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
    """Convert nested maps and lists to one map with names such as `A.0.B`, without null members.

    `style` is the separator, an optional word before each index, and the first index: `.0`, `.member.1`.
    """
    built: dict[str, Any] = {}
    chars = 0
    for name, member in _flat("", mapping(value), *_style(style)):
        chars += len(name)
        if chars > MAX_NAMES_CHARS:
            raise ValueError(f"the flattened names have more than {MAX_NAMES_CHARS} characters")
        built[name] = member
    return built


def nest(value: Any, style: str) -> dict[str, Any]:
    """Convert names such as `A.0.B` back to nested maps and lists, closing gaps between indices. See `flatten`."""
    separator, word, base = _style(style)
    root: dict[str, Any] = {}
    for name, member in mapping(value).items():
        *path, last = name.split(separator)
        if len(path) >= MAX_NESTING:
            raise ValueError(f"nested deeper than {MAX_NESTING} levels")
        here = root
        for step in path:
            here = here.setdefault(step, _Branch())
            if not isinstance(here, _Branch):
                raise ValueError(f"{name!r} is below a value")
        if last in here:
            raise ValueError(f"{name!r} is above other names")
        here[last] = member
    return {name: _listed(member, word, base) for name, member in root.items()}


class _Branch(dict[str, Any]):
    """A map made by `nest`, distinct from a value that is a map."""


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
