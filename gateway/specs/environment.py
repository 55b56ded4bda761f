"""Replaces ${NAME} in the scalars of a route, after parsing: a value can never change the structure of a document."""

import re
from collections.abc import Callable
from dataclasses import replace

from gateway.specs.yaml.diagnostic import Mark
from gateway.specs.yaml.nodes import ListNode, MapNode, Node, Scalar

_VARIABLE = re.compile(r"\$(\$\{)|\$\{([^{}]*)\}")
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)

UNSET = "unset"  # takes the place of a variable without a value
LookUp = Callable[[str], str | None]


class Substitution:
    """Replaces variables with the results of `variable` and `read_file`; reports those without a value.

    `report` gets the mark, what is wrong, what to do, and the name of the variable or file without a value; None for
    a mistake in the text. `replaced` holds each text as written and its value, by mark.
    """

    def __init__(
        self, variable: LookUp, read_file: LookUp, report: Callable[[Mark, str, str, str | None], None]
    ) -> None:
        self._variable = variable
        self._read_file = read_file
        self._report = report
        self.replaced: dict[Mark, tuple[str, str]] = {}

    def apply(self, node: Node) -> Node:
        """Return the node with every variable replaced. The text of a scalar stays as written."""
        if isinstance(node, MapNode):
            return replace(node, entries={key: self.apply(value) for key, value in node.entries.items()})
        if isinstance(node, ListNode):
            return replace(node, items=tuple(self.apply(item) for item in node.items))
        if not isinstance(node.value, str) or "${" not in node.value:
            return node
        value = _VARIABLE.sub(lambda match: self._value(match, node), node.value)
        self.replaced[node.mark] = node.value, value
        return replace(node, value=value)

    def _value(self, match: re.Match[str], node: Scalar) -> str:
        if match[1]:
            return "${"
        text = match[2]
        name = _NAME.fullmatch(text)
        if text.startswith("file:"):
            value, what, hint = self._read_file(text[5:]), f"cannot read the file {text[5:]}", ""
            unset = text
        elif name is None:
            # The text is not shown: it may be part of a secret.
            self._report(
                node.mark, "'${…}' is not a variable", "write ${NAME}, ${NAME:-default} or ${file:/path}", None
            )
            return text
        else:
            value, what = self._variable(name[1]), f"the environment variable {name[1]} is not set"
            hint, unset = "set it, or give a default: ${NAME:-default}", name[1]
            value = name[2] if value is None else value
        if value is None:
            self._report(node.mark, what, hint, unset)
            return UNSET
        return value
