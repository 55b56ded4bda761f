"""One YAML document on its way to becoming a spec: its node, and where its findings go."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.core.expression import Problem
from gateway.core.expression.backtracking import nested_repeat
from gateway.core.expression.compiler import KeyPath
from gateway.core.text import did_you_mean
from gateway.file_fingerprint import Fingerprints
from gateway.specs.yaml.diagnostic import Diagnostics, Mark
from gateway.specs.yaml.errors import QUOTE
from gateway.specs.yaml.nodes import ListNode, MapNode, Node, Path, Scalar, find, format_path, key_mark, mark_of
from gateway.specs.yaml.renamed import replacement

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Unloaded:
    """Specs that have errors, as (kind, name), and whether a file could not be read, whose specs are unknown."""

    specs: frozenset[tuple[str, str]] = frozenset()
    files: bool = False

    def may_hold(self, kind: str, name: str) -> bool:
        return self.files or (kind, name) in self.specs


@dataclass(slots=True)
class Document:
    """One YAML document. `kind` is `recipe`, `provider` or `route`, `name` its value.

    `unset` has the variables without a value, by mark. Findings there are left out: they would only repeat that. For
    the same reason, names that `unloaded` may hold are not reported as unknown; the document then `lacks` one. A
    document is `alone` where a single file was loaded.
    `replaced` has each text with variables as written, and what they made of it: no finding shows the latter. What
    depends on where the spec is read is an error where `strict`, else a warning. `files` are those that it names and
    that were read for it. `spec` is what was read last.
    """

    kind: str
    name: str
    node: MapNode
    diagnostics: Diagnostics
    shipped: bool = False
    unset: dict[Mark, str] = field(default_factory=dict)
    replaced: dict[Mark, tuple[str, str]] = field(default_factory=dict)
    errors: int = 0
    strict: bool = True
    files: Fingerprints = field(default_factory=dict)
    unloaded: Unloaded = Unloaded()
    lacks: bool = False
    alone: bool = False
    spec: BaseModel | None = None

    def anew(self, diagnostics: Diagnostics) -> "Document":
        """Return the document as it was read; what is found in it from now on goes there."""
        return Document(
            self.kind, self.name, self.node, diagnostics, self.shipped, unloaded=self.unloaded, alone=self.alone
        )

    def error(self, path: Path, what: str, hint: str = "", *, at_key: bool = False) -> None:
        mark = key_mark(self.node, path) if at_key else mark_of(self.node, path)
        if mark not in self.unset:
            self.errors += 1
            self.diagnostics.error(mark, format_path(path[:-1] if at_key else path), self._as_written(what), hint)

    def unknown(self, path: Path, kind: str, name: str, known: Iterable[str]) -> None:
        """Report that no spec of this kind has the name. A file is checked alone, so its hint says what to do."""
        if self.unloaded.may_hold(kind, name):
            self.lacks = True
            return
        hint = did_you_mean(name, known)
        if self.alone:
            hint = f"{hint}; a file is checked alone: if another file has it, check their folder".removeprefix("; ")
        self.error(path, f"no {kind} is named {name!r}", hint)

    def environmental(self, path: Path, what: str, hint: str = "") -> None:
        """Report what is wrong here, and perhaps not where the spec is served."""
        if self.strict:
            self.error(path, what, hint)
        elif mark_of(self.node, path) not in self.unset:
            self.warning(path, what, hint)

    def written(self, path: Path) -> str:
        """Show a value as it was written; what a variable was replaced by is never shown."""
        return _seen(self.node, path)

    def warning(self, path: Path, what: str, hint: str = "") -> None:
        self.diagnostics.warning(mark_of(self.node, path), format_path(path), self._as_written(what), hint)

    def note(self, path: Path, what: str, hint: str = "") -> None:
        self.diagnostics.note(mark_of(self.node, path), format_path(path), what, hint)

    def problems(self, problems: Iterable[Problem]) -> None:
        for problem in problems:
            if self.has_variable(problem.path):
                what = (
                    f"{_seen(self.node, problem.path)} is no expression for this place once its variables are replaced"
                )
                self.error(problem.path, what)
            else:
                self.error(problem.path, problem.what, problem.hint)

    def slow_patterns(self, patterns: Iterable[tuple[Path, str]]) -> None:
        """Warn of each regular expression that some texts take very long to match."""
        for path, pattern in patterns:
            group = nested_repeat(pattern)
            if group is not None:
                shown = "the pattern" if self.has_variable(path) else repr(group)
                what = f"matching may take exponential time: {shown} repeats what holds a repeat"
                self.warning(path, what, "make the inner repeat possessive, such as [a-z]++, or bound it")

    def has_variable(self, path: Path) -> bool:
        """Tell whether variables were replaced in the value: what is found in it may then not be quoted in part."""
        return mark_of(self.node, path) in self.replaced

    def _as_written(self, what: str) -> str:
        for written, value in self.replaced.values():
            what = what.replace(repr(value), repr(written)) if value else what
        return what

    def read(self, model: type[M], values: Any) -> M | None:
        """Hold the values to a model; every way in which they do not fit becomes a finding."""
        try:
            self.spec = spec = model.model_validate(values)
            return spec
        except ValidationError as error:
            for path, detail in _told(self.node, error.errors(include_url=False, include_input=False)):
                self._explain(model, path, detail)
            return None

    def _explain(self, model: type[BaseModel], path: Path, detail: ErrorDetails) -> None:
        node = find(self.node, path)
        kind, location = detail["type"], detail["loc"]
        if _is_of_key(detail):
            word = str(path[-1])
            what, hint = f"key {word!r}: {_in_words(detail)}", ""
            if kind in _CLOSED:
                what, hint = f"unknown key {word!r}", _meant(word, _words(detail))
            self.error(path, what, hint, at_key=True)
        elif kind == "extra_forbidden":
            word = str(path[-1])
            self.error(path, f"unknown key {word!r}", _meant(word, _keys_at(model, location[:-1])), at_key=True)
        elif kind == "missing":
            self.error(path[:-1], f"{str(path[-1])!r} is missing")
        elif kind == "union_tag_not_found":
            self.error(path, "'kind' is missing")
        elif kind == "union_tag_invalid":
            at = [*path, "kind"]
            self.error(
                at, f"{_seen(self.node, at)} is not known here", did_you_mean(detail["ctx"]["tag"], _words(detail))
            )
        elif kind in _CLOSED:
            self.error(path, f"{_seen(self.node, path)} is not known here", _meant(_word(node), _words(detail)))
        else:
            hint = "put it in quotes" if kind == "string_type" and _word(node) else ""
            self.error(path, f"{_seen(self.node, path)}: {_in_words(detail)}", hint)


def _told(root: Node, details: Sequence[ErrorDetails]) -> Iterator[tuple[KeyPath, ErrorDetails]]:
    """Leave out what a union says of the branches that the value was not meant for, as far as that can be seen."""
    placed = [(_real_path(root, detail), detail) for detail in details]
    told: dict[tuple[KeyPath, bool], ErrorDetails] = {}
    for path, detail in placed:
        place = path, _is_of_key(detail)
        reads_on = any(other[: len(path)] == path != other for other, _ in placed)
        if not (_is_of_shape(detail, find(root, path)) and (reads_on or place in told)):
            told[place] = detail
    for (path, _), detail in told.items():
        yield path, detail


def _is_of_shape(detail: ErrorDetails, node: Node) -> bool:
    return detail["type"].endswith("_type") or (detail["type"] in _CLOSED and not isinstance(node, Scalar))


def _is_of_key(detail: ErrorDetails) -> bool:
    return detail["loc"][-1:] == ("[key]",)


def _real_path(node: Node, detail: ErrorDetails) -> KeyPath:
    """Return the location without what pydantic puts into it that is no key: the branch of a union it tried."""
    path: list[str | int] = []
    for step in detail["loc"]:
        below = find(node, [step])
        if below is not node:
            path.append(step)
            node = below
    return (*path, detail["loc"][-1]) if detail["type"] == "missing" else tuple(path)


def _keys_at(model: Any, location: Iterable[str | int]) -> list[str]:
    """Return the keys that a map at this place of the model may hold."""
    candidates = [model]
    for step in location:
        candidates = [below for each in candidates for below in _below(each, step)] or candidates
    models = [each for each in candidates if isinstance(each, type) and issubclass(each, BaseModel)]
    return [field.alias or name for each in models for name, field in each.model_fields.items()]


def _below(model: Any, step: str | int) -> Iterator[Any]:
    if isinstance(model, type) and issubclass(model, BaseModel):
        for name, field_info in model.model_fields.items():
            if step in (name, field_info.alias):
                yield from _branches(field_info.annotation)
    elif get_origin(model) in (list, dict):
        yield from _branches(get_args(model)[-1])


def _branches(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in (Union, UnionType):
        for branch in get_args(annotation):
            yield from _branches(branch)
    elif hasattr(annotation, "__metadata__"):
        yield from _branches(get_args(annotation)[0])
    else:
        yield annotation


def _word(node: Node) -> str:
    return node.text if isinstance(node, Scalar) else ""


def _meant(word: str, known: Iterable[str]) -> str:
    """Say what to do about a key that is not known; one with a bracket was torn off an expression at its comma."""
    words = set(known)
    return QUOTE if re.search(r"[()\[\]]", word) else replacement(word, words) or did_you_mean(word, words)


def _words(detail: ErrorDetails) -> list[str]:
    """Return the closed list of words that one of was expected."""
    context = detail["ctx"]
    return re.findall(r"'([^']*)'", context.get("expected") or context["expected_tags"])


def _seen(root: Node, path: Path) -> str:
    """Show a value as it was written; neither a secret nor what a variable was replaced by is ever shown."""
    node = find(root, path)
    if not isinstance(node, Scalar):
        return "a list" if isinstance(node, ListNode) else "a map"
    if not node.text:
        return "nothing"
    if _SECRET.intersection(path):
        return "***"
    return repr(node.text if len(node.text) <= 60 else node.text[:60] + "…")


_CLOSED = ("literal_error", "enum")
_SECRET = frozenset({"credential", "credentials", "secret"})


_WANTED = {
    "string_type": "text is wanted here",
    "dict_type": "a map is wanted here",
    "model_type": "a map is wanted here",
    "model_attributes_type": "a map is wanted here",
    "list_type": "a list is wanted here",
    "int_type": "an integer is wanted here",
    "int_parsing": "an integer is wanted here",
    "int_from_float": "an integer is wanted here",
    "float_type": "a number is wanted here",
    "float_parsing": "a number is wanted here",
    "finite_number": "a finite number is wanted here",
    "bool_type": "true or false is wanted here",
    "bool_parsing": "true or false is wanted here",
    "string_pattern_mismatch": "it is not of the form {pattern}",
    "greater_than": "it must be more than {gt:g}",
    "greater_than_equal": "it must be at least {ge:g}",
    "less_than_equal": "it must be at most {le:g}",
    "too_short": "at least {min_length} is needed",
    "string_too_short": "it must not be empty",
    "string_too_long": "at most {max_length} characters are allowed",
    "too_long": "at most {max_length} are allowed",
}


def _in_words(detail: ErrorDetails) -> str:
    wanted = _WANTED.get(detail["type"])
    if wanted is not None:
        return wanted.format(**detail.get("ctx", {}))
    message = detail["msg"].removeprefix("Value error, ")
    return message[:1].lower() + message[1:]
