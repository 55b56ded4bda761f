"""Compiles what a document holds: expressions, trees of them, and text with {names}.

One compiler serves one document. It goes on after a mistake, so that all of them are reported at once, and remembers
which names were read, and where first. An expression that did not compile is always null.
"""

import html
import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from gateway.core.expression import lint
from gateway.core.expression.interpreter import EvaluationError, Expression, interpret
from gateway.core.http.json import write_number
from gateway.core.text import did_you_mean

KeyPath = tuple[str | int, ...]
Text = Callable[[Mapping[str, Any]], str | None]

_PLACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_NAME = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?:\|(\w+))?", re.ASCII)
# What XML 1.0 cannot hold, not even escaped.
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _xml(text: str) -> str:
    return html.escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text))


def _json(text: str) -> str:
    return json.dumps(text)[1:-1]


# What `{name|filter}` does to the text of a name: it becomes part of an XML text or attribute, or of a JSON string.
FILTERS: dict[str, Callable[[str], str]] = {"xml": _xml, "json": _json}


class Problem(NamedTuple):
    """A mistake: the key path it stands at, what is wrong, and what to do."""

    path: KeyPath
    what: str
    hint: str


class _Name(NamedTuple):
    """A name in a text, as the chain of its members, and what escapes its value."""

    chain: tuple[str, ...]
    escape: Callable[[str], str] | None


class Compiler:
    """Compiles the expressions of one document.

    `names` of each call are the root names that the scope will hold; None leaves them unchecked. `on_value`, when
    given, is called with the key path of a member each time it comes out non-null, and with that of a condition each
    time it holds. `watched` are the key paths of these members, `conditions` those of the conditions.
    """

    def __init__(self, on_value: Callable[[KeyPath], None] | None = None) -> None:
        self.problems: list[Problem] = []
        self.read: dict[tuple[str, ...], KeyPath] = {}
        self.watched: set[KeyPath] = set()
        self.conditions: set[KeyPath] = set()
        self.functions: set[str] = set()
        self._on_value = on_value

    def expression(self, source: Any, names: Collection[str] | None, at: KeyPath) -> Expression:
        """Compile what stands where an expression may stand: text, a number, a boolean, null, or a map or list."""
        if isinstance(source, str):
            return self._jmespath(source, names, at)
        if isinstance(source, dict):
            return self._map(source, names, at)
        if isinstance(source, list):
            items = [self.expression(item, names, (*at, index)) for index, item in enumerate(source)]
            return lambda scope: [item(scope) for item in items]
        return lambda scope: source

    def condition(self, source: Any, names: Collection[str] | None, at: KeyPath) -> Expression:
        """Compile a `when`."""
        condition, watch = self.expression(source, names, at), self._on_value
        if watch is None:
            return condition
        self.conditions.add(at)

        def watched(scope: Mapping[str, Any]) -> Any:
            holds = condition(scope)
            if holds:
                watch(at)
            return holds

        return watched

    def text(self, source: str, names: Collection[str], at: KeyPath, *, escape: Callable[[str], str] = str) -> Text:
        """Compile text with `{dotted.names}`; `{{` and `}}` are braces. It gives null when any name is null.

        `{name|filter}` applies one of FILTERS to the value, then `escape` is applied, as to each other value.
        """
        parts: list[str | _Name] = []
        for place in self._places(source, at):
            if isinstance(place, str) or self._known(place.chain, names, at, in_text=True):
                parts.append(place)
        if all(isinstance(part, str) for part in parts):
            constant = "".join(part for part in parts if isinstance(part, str))
            return lambda scope: constant

        def fill(scope: Mapping[str, Any]) -> str | None:
            filled = []
            for part in parts:
                if isinstance(part, str):
                    filled.append(part)
                    continue
                value = _look_up(scope, part.chain)
                if value is None:
                    return None
                text = _as_text(value, part.chain)
                filled.append(escape(part.escape(text) if part.escape else text))
            return "".join(filled)

        return fill

    def _jmespath(self, source: str, names: Collection[str] | None, at: KeyPath) -> Expression:
        try:
            tree = lint.parse(source)
            chains, functions = list(lint.root_names(tree)), list(lint.functions_used(tree))
            mistakes = list(lint.mistakes(tree))
        except lint.BadExpression as error:
            self._problem(at, str(error), error.hint)
            return _null
        except RecursionError:
            self._problem(at, "the expression is nested too deeply", "")
            return _null
        sound = True
        for chain in chains:
            sound = (names is None or self._known(chain, names, at)) and sound
        for name in functions:
            self.functions.add(name)
            if name not in lint.KNOWN_FUNCTIONS:
                self._problem(at, f"there is no function {name!r}", did_you_mean(name, lint.KNOWN_FUNCTIONS))
                sound = False
        for what, hint in mistakes:
            self._problem(at, f"{source!r}: {what}", hint)
            sound = False
        return interpret(source) if sound else _null

    def members(self, source: Mapping[str, Any], names: Collection[str] | None, at: KeyPath) -> dict[str, Expression]:
        """Compile each member of a map by itself."""
        return {key: self._member(value, names, (*at, key)) for key, value in source.items()}

    def _map(self, source: dict[str, Any], names: Collection[str] | None, at: KeyPath) -> Expression:
        members = self.members(source, names, at)

        def build(scope: Mapping[str, Any]) -> dict[str, Any]:
            built = {}
            for key, member in members.items():
                value = member(scope)
                if value is not None:
                    built[key] = value
            return built

        return build

    def _member(self, source: Any, names: Collection[str] | None, at: KeyPath) -> Expression:
        member = self.expression(source, names, at)
        watch = self._on_value
        if watch is None or not isinstance(source, str):
            return member
        self.watched.add(at)

        def watched(scope: Mapping[str, Any]) -> Any:
            value = member(scope)
            if value is not None:
                watch(at)
            return value

        return watched

    def _places(self, source: str, at: KeyPath) -> list[str | _Name]:
        """Split a text into its literals and the names between them."""
        places: list[str | _Name] = []
        end = 0
        for match in _PLACE.finditer(source):
            places.append(source[end : match.start()])
            end = match.end()
            name = _NAME.fullmatch(match[1]) if match[1] is not None else None
            if match[0] in ("{{", "}}"):
                places.append(match[0][0])
            elif name is None:
                self._problem(at, f"{match[0]!r} is not a name in braces", "a brace itself is written twice: {{ or }}")
            elif name[2] is not None and name[2] not in FILTERS:
                self._problem(at, f"there is no filter {name[2]!r} for text", did_you_mean(name[2], FILTERS))
            else:
                places.append(_Name(tuple(name[1].split(".")), FILTERS.get(name[2] or "")))
        places.append(source[end:])
        return [place for place in places if place]

    def _known(self, chain: tuple[str, ...], names: Collection[str], at: KeyPath, *, in_text: bool = False) -> bool:
        self.read.setdefault(chain, at)
        if chain[0] in names:
            return True
        hint = did_you_mean(chain[0], names)
        if len(chain) == 1 and not in_text:
            hint = f"{hint}; text is written \"'{chain[0]}'\"".removeprefix("; ").replace("?;", "?")
        self._problem(at, f"nothing here is named {chain[0]!r}", hint)
        return False

    def _problem(self, at: KeyPath, what: str, hint: str) -> None:
        self.problems.append(Problem(at, what, hint))


def unescaped_names(source: str) -> list[str]:
    """Return the names in a text that no filter escapes, as they are written in it."""
    names = (_NAME.fullmatch(match[1]) for match in _PLACE.finditer(source) if match[1] is not None)
    return [name[1] for name in names if name is not None and name[2] is None]


def _null(scope: Mapping[str, Any]) -> None:
    return None


def _look_up(scope: Mapping[str, Any], chain: tuple[str, ...]) -> Any:
    value: Any = scope
    for name in chain:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _as_text(value: Any, chain: tuple[str, ...]) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return write_number(value)
    raise EvaluationError(".".join(chain), f"not text but a {type(value).__name__}")
