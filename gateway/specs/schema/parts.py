"""What building either role of a provider needs: the names that expressions see, and how common parts are compiled."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.core.expression import Compiler, Expression
from gateway.core.expression.compiler import KeyPath, Text
from gateway.core.points.decode import FIELD_READERS
from gateway.core.recipe.model import Recipe
from gateway.specs.yaml.document import Document
from gateway.specs.yaml.nodes import MapNode, Node, to_python

POINT = frozenset(FIELD_READERS)
REQUEST = frozenset({"body", "query", "headers", "given"})
WHO = frozenset({"request", "recipe", "key"})
OUTCOME = frozenset({"code", "reason", "message", "accepted", "rejected", "request_id", "retry_after_s"})
ANSWER = frozenset({"status", "headers", "body", "text", "call_id", "given"})

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2


@dataclass(frozen=True, slots=True)
class Parts:
    """Compiles parts of one document. `at` is always the key path of what is compiled."""

    document: Document
    recipes: Mapping[str, Recipe]
    compiler: Compiler

    def headers(self, headers: Mapping[str, Any], names: Collection[str], at: KeyPath) -> tuple[tuple[str, Text], ...]:
        for name in headers:
            if not _TOKEN.fullmatch(name):
                self.document.error((*at, name), f"{name!r} cannot be the name of a header", at_key=True)
            if any(character in str(headers[name]) for character in "\r\n\0"):
                self.document.error((*at, name), "a header holds no line break")
        return tuple((name, self.compiler.text(str(value), names, (*at, name))) for name, value in headers.items())

    def optional(self, source: Any, names: Collection[str] | None, at: KeyPath) -> Expression | None:
        return None if source is None else self.compiler.expression(source, names, at)

    def condition(self, source: Any, names: Collection[str] | None, at: KeyPath) -> Expression | None:
        return None if source is None else self.compiler.condition(source, names, at)

    def named_recipes(self, names: Sequence[str], at: KeyPath) -> tuple[Recipe, ...]:
        several = isinstance(self.value(at), list)
        found = []
        for index, name in enumerate(names):
            if name in self.recipes:
                found.append(self.recipes[name])
            else:
                path = (*at, index) if several else at
                self.document.unknown(path, "recipe", name, self.recipes)
        return tuple(found)

    def value(self, at: KeyPath) -> Any:
        node: Node | None = self.document.node
        for step in at:
            node = node.entries.get(step) if isinstance(node, MapNode) and isinstance(step, str) else None
        return None if node is None else to_python(node)


def attributes_read(compiler: Compiler) -> frozenset[str]:
    """Return the names of the attributes that a document's expressions read."""
    return frozenset(chain[1] for chain in compiler.read if chain[0] == "attributes" and len(chain) > 1)
