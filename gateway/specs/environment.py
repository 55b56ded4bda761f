"""Replaces ${NAME} in the scalars of a route, after parsing: a value can never change the structure of a document."""

import re
from collections.abc import Callable
from typing import Any

from gateway.specs.yaml.diagnostic import Mark
from gateway.specs.yaml.nodes import ListNode, MapNode, Node, Scalar

_VARIABLE = re.compile(r"\$(\$\{)|\$\{([^{}]*)\}")
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)

UNSET = "unset"  # stands where a variable has no value
LookUp = Callable[[str], str | None]


class Substitution:
    """Replaces variables by what `variable` and `read_file` give; what they do not give is told to `report`.

    `report` gets the mark, what is wrong, what to do, and the name of the variable or file that has no value; None for
    a mistake in the text.
    `replaced` has the text as written and what became of it, by mark.
    """

    def __init__(
        self, variable: LookUp, read_file: LookUp, report: Callable[[Mark, str, str, str | None], None]
    ) -> None:
        self._variable = variable
        self._read_file = read_file
        self._report = report
        self.replaced: dict[Mark, tuple[str, str]] = {}

    def to_python(self, node: Node) -> Any:
        """Return the node's plain values with every variable replaced."""
        if isinstance(node, MapNode):
            return {key: self.to_python(value) for key, value in node.entries.items()}
        if isinstance(node, ListNode):
            return [self.to_python(item) for item in node.items]
        if isinstance(node.value, str) and "${" in node.value:
            value = _VARIABLE.sub(lambda match: self._value(match, node), node.value)
            self.replaced[node.mark] = node.value, value
            return value
        return node.value

    def _value(self, match: re.Match[str], node: Scalar) -> str:
        if match[1]:
            return "${"
        text = match[2]
        if text.startswith("file:"):
            return self._or_report(self._read_file(text[5:]), f"the file {text[5:]} cannot be read", "", text, node)
        name = _NAME.fullmatch(text)
        if name is None:
            forms = "write ${NAME}, ${NAME:-default} or ${file:/path}"
            self._report(node.mark, "'${…}' is no variable", forms, None)  # it may be part of a secret
            return text
        value = self._variable(name[1])
        if value is None and name[2] is not None:
            return name[2]
        hint = "set it, or give a default: ${NAME:-default}"
        return self._or_report(value, f"the environment variable {name[1]} is not set", hint, name[1], node)

    def _or_report(self, value: str | None, what: str, hint: str, name: str, node: Scalar) -> str:
        if value is None:
            self._report(node.mark, what, hint, name)
            return UNSET
        return value
