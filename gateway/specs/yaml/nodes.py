"""The nodes of a YAML document, with file, line and column, and functions to find a node by its key path."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from gateway.specs.yaml.diagnostic import Mark

_PLAIN_KEY = re.compile(r"[^\s.\[\]]+")

Value: TypeAlias = str | int | float | bool | None
Path: TypeAlias = Sequence[str | int]


@dataclass(frozen=True, slots=True)
class Scalar:
    mark: Mark
    value: Value
    text: str
    plain: bool


@dataclass(frozen=True, slots=True)
class ListNode:
    mark: Mark
    items: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class MapNode:
    mark: Mark
    entries: "Mapping[str, Node]"
    key_marks: Mapping[str, Mark]


Node: TypeAlias = Scalar | ListNode | MapNode


def to_python(node: Node) -> Any:
    if isinstance(node, MapNode):
        return {key: to_python(value) for key, value in node.entries.items()}
    if isinstance(node, ListNode):
        return [to_python(item) for item in node.items]
    return node.value


def find(node: Node, path: Path) -> Node:
    """Return the deepest node that exists on the path."""
    return _walk(node, path)[0]


def mark_of(node: Node, path: Path) -> Mark:
    """Return the place of the value at the path, or of the deepest one that exists."""
    return find(node, path).mark


def key_mark(node: Node, path: Path) -> Mark:
    """Return the place of the key that the path ends in, or of the deepest one that exists."""
    return _walk(node, path)[1]


def _walk(node: Node, path: Path) -> tuple[Node, Mark]:
    """Return the deepest node that exists on the path, and the place of its key or item."""
    mark = node.mark
    for step in path:
        if isinstance(node, MapNode) and isinstance(step, str) and step in node.entries:
            mark, node = node.key_marks[step], node.entries[step]
        elif isinstance(node, ListNode) and isinstance(step, int) and 0 <= step < len(node.items):
            node = node.items[step]
            mark = node.mark
        else:
            break
    return node, mark


def format_path(path: Path) -> str:
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_KEY.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"['{step}']"
    return text
