"""Where the binder is: a node, its key path, and what can be seen from there."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.core.expression import Compiler
from gateway.core.expression.compiler import KeyPath
from gateway.core.recipe.filters import Kind
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.slots import Slot
from gateway.core.text import did_you_mean
from gateway.core.vendor.provider import Provider
from gateway.specs.yaml.document import Document
from gateway.specs.yaml.errors import QUOTE
from gateway.specs.yaml.nodes import ListNode, MapNode, Node, Scalar, to_python

# Keys and words of earlier versions and their replacements, for the error message that an old one gets.
RENAMED = {
    "also": "local_calls",
    "refuse": "reject_report",
    "reject": "reject_item",
    "empty": "allow_empty: true",
    "partial": "on_bad_item: reject_report | reject_item",
    "one_per": "group_by",
    "once_per": "unique_by",
    "drops": "allow_loss",
    "then": "on_failure: retry | dead_letter | pause",
    "UPSTREAM_REFUSED": "UPSTREAM_REJECTED",
}


class Invalid(Exception):
    """A value cannot be bound. What is wrong with it has been reported."""


@dataclass(slots=True)
class Scope:
    """What all places of one document share.

    `relay` is true for a relay; `sign` are the recipes that sign the calls of a provider. `captured` are the names that
    the path of every received call gives to the call of a relay, None until they are known. Templates of a recipe may
    read the names in `kinds`, which grows with each step; `slots` are those without errors. `defaults` holds the keys
    of each map in the order of its table, with their defaults; `secrets` holds the places of secrets.
    """

    document: Document
    compiler: Compiler = field(default_factory=Compiler)
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    providers: Mapping[str, Provider] = field(default_factory=dict)
    relay: bool = False
    sign: tuple[Recipe, ...] = ()
    captured: frozenset[str] | None = None
    kinds: dict[str, Kind] = field(default_factory=dict)
    slots: dict[str, Slot] = field(default_factory=dict)
    slot_names: frozenset[str] = frozenset()
    defaults: dict[KeyPath, dict[str, Any]] = field(default_factory=dict)
    secrets: set[KeyPath] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Place:
    """A node of a document. `names` are those that expressions see there; a `secret` value is never shown."""

    scope: Scope
    node: Node
    path: KeyPath = ()
    names: frozenset[str] = frozenset()
    secret: bool = False

    @property
    def name(self) -> str:
        """The key of this place in the map above it."""
        return str(self.path[-1])

    @property
    def plain(self) -> Any:
        return to_python(self.node)

    @property
    def value(self) -> Any:
        """The value of a scalar; for a map or list it is the class Invalid, which equals no value."""
        return self.node.value if isinstance(self.node, Scalar) else Invalid

    @property
    def shown(self) -> str:
        """The value as written. A secret is not shown, nor what a variable was replaced with."""
        if not isinstance(self.node, Scalar):
            return "a list" if isinstance(self.node, ListNode) else "a map"
        if not self.node.text:
            return "nothing"
        if self.secret:
            return "***"
        return repr(self.node.text if len(self.node.text) <= 60 else self.node.text[:60] + "…")

    def seeing(self, *names: Collection[str]) -> "Place":
        return replace(self, names=frozenset().union(*names))

    def at(self, step: str | int) -> "Place":
        """Return the place below; the step must exist."""
        node = self.node.items[int(step)] if isinstance(self.node, ListNode) else self.entries[str(step)]
        return Place(self.scope, node, (*self.path, step), self.names, self.secret)

    @property
    def entries(self) -> Mapping[str, Node]:
        return self.node.entries if isinstance(self.node, MapNode) else {}

    def __iter__(self) -> "Iterator[Place]":
        steps = range(len(self.node.items)) if isinstance(self.node, ListNode) else self.entries
        return map(self.at, steps)

    def keys(self, name: str) -> frozenset[str]:
        """Return the keys of the map, or the texts of the list, under this key; none where there is neither."""
        below = self.entries.get(name)
        if isinstance(below, ListNode):
            return frozenset(item.value for item in below.items if isinstance(item, Scalar) and type(item.value) is str)
        return frozenset(below.entries) if isinstance(below, MapNode) else frozenset()

    def error(self, what: str, hint: str = "", *below: str | int, at_key: bool = False) -> None:
        """Report an error here, or at what is below."""
        self.scope.document.error((*self.path, *below), what, hint, at_key=at_key)

    def warning(self, what: str, hint: str = "", *below: str | int) -> None:
        self.scope.document.warning((*self.path, *below), what, hint)

    def invalid(self, what: str, hint: str = "", *below: str | int) -> Invalid:
        """Report an error, and return the exception to raise."""
        self.error(what, hint, *below)
        return Invalid()

    def expected(self, what: str, hint: str = "") -> Invalid:
        return self.invalid(f"expected {what}, not {self.shown}", hint)

    def unknown_key(self, key: str, known: Iterable[str]) -> None:
        self.error(f"unknown key {key!r}", meant(key, known), key, at_key=True)

    def has_variable(self) -> bool:
        return self.scope.document.has_variable(self.path)


def meant(word: str, known: Iterable[str]) -> str:
    """Return the hint for an unknown word; one with a bracket is the rest of an unquoted expression with a comma."""
    words, new = set(known), RENAMED.get(word, "")
    if re.search(r"[()\[\]]", word):
        return QUOTE
    return f"this was renamed: write `{new}`" if new.partition(":")[0] in words else did_you_mean(word, words)
