"""Compares the parts of a case with the results of the stages."""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.core.http.json import write_json


def differences(expected: Any, made: Any, path: str) -> Iterator[str]:
    """Yield each difference. The result may have additional members in maps, but not in lists; null means absent."""
    if isinstance(expected, Mapping):
        if not isinstance(made, Mapping):
            yield f"{path}: expected a map, got {_shown(made)}"
            return
        for name, value in expected.items():
            yield from differences(value, made.get(name), f"{path}.{name}")
    elif isinstance(expected, list):
        if not isinstance(made, list) or len(made) != len(expected):
            count = f"{len(made)} items" if isinstance(made, list) else _shown(made)
            yield f"{path}: expected {len(expected)} items, got {count}"
            return
        for index, (value, other) in enumerate(zip(expected, made, strict=True)):
            yield from differences(value, other, f"{path}[{index}]")
    elif expected != made or isinstance(expected, bool) != isinstance(made, bool):
        yield f"{path}: expected {_shown(expected)}, got {_shown(made)}"


def _shown(value: Any) -> str:
    text = "nothing" if value is None else write_json(value).decode()
    return text if len(text) <= 200 else text[:200] + "…"
