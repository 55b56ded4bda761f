"""Compiles the expressions of a document, trees of them, and text with {names}.

One compiler serves one document. It continues after a mistake, so all mistakes are reported at once, and records which
names are read, each with its first place. An expression with a mistake compiles to one that is always null.
"""

import html
import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from gateway.core.expression import lint
from gateway.core.expression.closures import EvaluationError, Expression, compile_tree, path
from gateway.core.expression.parser import BadExpression, parse
from gateway.core.http.json import write_scalar
from gateway.core.text import did_you_mean

KeyPath = tuple[str | int, ...]
Text = Callable[[Mapping[str, Any]], str | None]

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_NAME = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?:\|(\w+))?", re.ASCII)
# Characters that XML 1.0 does not allow, not even escaped.
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# `{name|filter}` escapes the value for an XML text or attribute, or for a JSON string.
FILTERS: dict[str, Callable[[str], str]] = {
    "xml": lambda text: html.escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)),
    "json": lambda text: json.dumps(text)[1:-1],
}


class Problem(NamedTuple):
    """A mistake: its key path, what is wrong, and what to do."""

    path: KeyPath
    what: str
    hint: str


class _Name(NamedTuple):
    """A dotted name in a text, and the functions that read and escape its value."""

    chain: tuple[str, ...]
    read: Expression
    escape: Callable[[str], str] | None


class Compiler:
    """Compiles the expressions of one document.

    The `names` of each call are the root names that an expression may read; None leaves them unchecked.
    `patterns` are the constant regular expressions.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.read: dict[tuple[str, ...], KeyPath] = {}
        self.functions: set[str] = set()
        self.patterns: list[tuple[KeyPath, str]] = []

    def expression(self, source: Any, names: Collection[str] | None, at: KeyPath) -> Expression:
        """Compile a value that may be an expression: text, a number, a boolean, null, or a map or list of them."""
        if isinstance(source, str):
            return self._jmespath(source, names, at)
        if isinstance(source, list):
            items = [self.expression(item, names, (*at, index)) for index, item in enumerate(source)]
            return lambda scope: [item(scope) for item in items]
        if isinstance(source, dict):
            members = self.members(source, names, at)
            if names is not None and all(isinstance(each, str) and each in names for each in source.values()):
                # Each member is a name, and the scope is a map of names: half the time of a function for each.
                return lambda scope: {
                    key: value for key, name in source.items() if (value := scope.get(name)) is not None
                }

            def build(scope: Mapping[str, Any]) -> dict[str, Any]:
                return {key: value for key, member in members.items() if (value := member(scope)) is not None}

            return build
        return lambda scope: source

    def members(self, source: Mapping[str, Any], names: Collection[str] | None, at: KeyPath) -> dict[str, Expression]:
        """Compile each member of a map separately."""
        return {key: self.expression(value, names, (*at, key)) for key, value in source.items()}

    def text(self, source: str, names: Collection[str], at: KeyPath, *, escape: Callable[[str], str] = str) -> Text:
        """Compile text with `{dotted.names}`; `{{` and `}}` are braces. It is null if any name is null.

        `{name|filter}` applies one of FILTERS to the value. `escape` is applied to every value after that.
        """
        parts: list[str | _Name] = []
        for part in self._split(source, at):
            if isinstance(part, str) or self._is_known(part.chain, names, at, in_text=True):
                parts.append(part)
        if all(isinstance(part, str) for part in parts):
            constant = "".join(part for part in parts if isinstance(part, str))
            return lambda scope: constant

        def fill(scope: Mapping[str, Any]) -> str | None:
            filled = []
            for part in parts:
                if isinstance(part, str):
                    filled.append(part)
                    continue
                value = part.read(scope)
                if value is None:
                    return None
                text = write_scalar(value)
                if text is None:
                    raise EvaluationError(".".join(part.chain), f"not text but a {type(value).__name__}")
                filled.append(escape(part.escape(text) if part.escape else text))
            return "".join(filled)

        return fill

    def _split(self, source: str, at: KeyPath) -> list[str | _Name]:
        """Split a text into literals and names."""
        parts: list[str | _Name] = []
        end = 0
        for match in _PLACEHOLDER.finditer(source):
            parts.append(source[end : match.start()])
            end = match.end()
            name = _NAME.fullmatch(match[1]) if match[1] is not None else None
            if match[0] in ("{{", "}}"):
                parts.append(match[0][0])
            elif name is None:
                self._problem(at, f"{match[0]!r} is not a name in braces", "a literal brace is doubled: {{ or }}")
            elif name[2] is not None and name[2] not in FILTERS:
                self._problem(at, f"unknown filter {name[2]!r} for text", did_you_mean(name[2], FILTERS))
            else:
                chain = tuple(name[1].split("."))
                parts.append(_Name(chain, path(*chain), FILTERS.get(name[2] or "")))
        parts.append(source[end:])
        return [part for part in parts if part]

    def _jmespath(self, source: str, names: Collection[str] | None, at: KeyPath) -> Expression:
        try:
            tree = parse(source)
            chains, functions = list(lint.root_names(tree)), list(lint.functions_used(tree))
            mistakes = list(lint.mistakes(tree))
            self.patterns += [(at, pattern) for pattern in lint.patterns_used(tree)]
        except BadExpression as error:
            self._problem(at, str(error), error.hint)
            return _null
        except RecursionError:
            self._problem(at, "the expression is nested too deeply", "")
            return _null
        before = len(self.problems)
        for chain in chains:
            if names is not None and chain:
                self._is_known(chain, names, at)
        for name in functions:
            self.functions.add(name)
            if name not in lint.KNOWN_FUNCTIONS:
                self._problem(at, f"unknown function {name!r}", lint.hint_for(name))
        for what, hint in mistakes:
            self._problem(at, f"{source!r}: {what}", hint)
        return compile_tree(source, tree) if len(self.problems) == before else _null

    def _is_known(self, chain: tuple[str, ...], names: Collection[str], at: KeyPath, *, in_text: bool = False) -> bool:
        self.read.setdefault(chain, at)
        if chain[0] in names:
            return True
        hint = did_you_mean(chain[0], names)
        if len(chain) == 1 and not in_text:
            hint = f"{hint}; text is written \"'{chain[0]}'\"".removeprefix("; ").replace("?;", "?")
        self._problem(at, f"unknown name {chain[0]!r}", hint)
        return False

    def _problem(self, at: KeyPath, what: str, hint: str) -> None:
        self.problems.append(Problem(at, what, hint))


def unescaped_names(source: str) -> list[str]:
    """Return the names in a text that have no filter."""
    names = (_NAME.fullmatch(match[1]) for match in _PLACEHOLDER.finditer(source) if match[1] is not None)
    return [name[1] for name in names if name is not None and name[2] is None]


def _null(scope: Mapping[str, Any]) -> None:
    return None
