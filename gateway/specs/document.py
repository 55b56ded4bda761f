"""One YAML document on its way to becoming a spec: its node, and where its findings go."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.core.expression import Problem
from gateway.core.suggest import nearest
from gateway.specs.diagnostic import Diagnostics, Mark
from gateway.specs.nodes import ListNode, MapNode, Node, Path, Scalar, find, format_path, key_mark, mark_of

M = TypeVar("M", bound=BaseModel)


@dataclass(slots=True)
class Document:
    """One YAML document. `kind` is `recipe`, `provider` or `route`, `name` its value.

    Findings at a mark in `unset` are left out: they would only repeat that an environment variable is missing.
    """

    kind: str
    name: str
    node: MapNode
    diagnostics: Diagnostics
    shipped: bool = False
    unset: set[Mark] = field(default_factory=set)
    errors: int = 0

    def error(self, path: Path, what: str, hint: str = "", *, at_key: bool = False) -> None:
        mark = key_mark(self.node, path) if at_key else mark_of(self.node, path)
        self.errors += 1
        if mark not in self.unset:
            self.diagnostics.error(mark, format_path(path[:-1] if at_key else path), what, hint)

    def warning(self, path: Path, what: str, hint: str = "") -> None:
        self.diagnostics.warning(mark_of(self.node, path), format_path(path), what, hint)

    def note(self, path: Path, what: str, hint: str = "") -> None:
        self.diagnostics.note(mark_of(self.node, path), format_path(path), what, hint)

    def problems(self, problems: Iterable[Problem]) -> None:
        for problem in problems:
            self.error(problem.path, problem.what, problem.hint)

    def read(self, model: type[M], values: Any) -> M | None:
        """Hold the values to a model; every way in which they do not fit becomes a finding."""
        try:
            return model.model_validate(values)
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_input=False):
                self._explain(model, detail)
            return None

    def _explain(self, model: type[BaseModel], detail: ErrorDetails) -> None:
        path = _real_path(self.node, detail["loc"])
        node = find(self.node, path)
        kind = detail["type"]
        if kind == "extra_forbidden":
            word = str(path[-1])
            hint = nearest(word, _keys_at(model, detail["loc"][:-1]))
            self.error(path, f"unknown key {word!r}", hint, at_key=True)
        elif kind == "missing":
            self.error(path[:-1], f"{str(path[-1])!r} is missing")
        elif kind in ("literal_error", "enum"):
            expected = [word.strip("'") for word in detail["ctx"]["expected"].replace(" or ", ", ").split(", ")]
            self.error(path, f"{_seen(node)} is not known here", nearest(_word(node), expected))
        else:
            self.error(path, f"{_seen(node)}: {_in_words(detail)}")


def _real_path(node: Node, location: Iterable[str | int]) -> list[str | int]:
    """Leave out what pydantic puts into a location that is no key: the branch of a union it tried."""
    path: list[str | int] = []
    steps = list(location)
    for position, step in enumerate(steps):
        below = find(node, [step])
        if below is not node:
            path.append(step)
            node = below
        elif position == len(steps) - 1 and isinstance(step, str) and isinstance(node, MapNode) and " " not in step:
            path.append(step)
    return path


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


def _seen(node: Node) -> str:
    """Show a value as it was written; what a variable was replaced by is never shown."""
    if isinstance(node, Scalar):
        return repr(node.text if len(node.text) <= 60 else node.text[:60] + "…") if node.text else "nothing"
    return "a list" if isinstance(node, ListNode) else "a map"


_WANTED = {
    "string_type": "text is wanted here; put it in quotes",
    "dict_type": "a map is wanted here",
    "model_type": "a map is wanted here",
    "model_attributes_type": "a map is wanted here",
    "list_type": "a list is wanted here",
    "int_type": "an integer is wanted here",
    "int_parsing": "an integer is wanted here",
    "int_from_float": "an integer is wanted here",
    "float_type": "a number is wanted here",
    "float_parsing": "a number is wanted here",
    "bool_type": "true or false is wanted here",
    "bool_parsing": "true or false is wanted here",
    "string_pattern_mismatch": "it is not of the form {pattern}",
    "greater_than": "it must be more than {gt:g}",
    "greater_than_equal": "it must be at least {ge:g}",
    "less_than_equal": "it must be at most {le:g}",
    "too_short": "at least {min_length} is needed",
    "string_too_short": "it must not be empty",
    "too_long": "at most {max_length} are allowed",
    "union_tag_not_found": "'kind' is missing",
    "union_tag_invalid": "no kind is named {tag!r}; known: {expected_tags}",
}


def _in_words(detail: ErrorDetails) -> str:
    wanted = _WANTED.get(detail["type"])
    if wanted is not None:
        return wanted.format(**detail.get("ctx", {}))
    message = detail["msg"].removeprefix("Value error, ")
    return message[:1].lower() + message[1:]
