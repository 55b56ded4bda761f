"""One YAML document on its way to becoming a spec: its node, and where its findings go."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from gateway.core.expression import Problem
from gateway.core.expression.backtracking import nested_repeat
from gateway.core.text import did_you_mean
from gateway.files import Fingerprints
from gateway.specs.yaml.diagnostic import Diagnostics, Mark
from gateway.specs.yaml.nodes import MapNode, Node, Path, Scalar, find, format_path, key_mark, mark_of


@dataclass(slots=True)
class Document:
    """One YAML document. `kind` is `recipe`, `provider` or `route`, `name` its value.

    `unset` holds variables without a value, by mark. Findings there are left out, since they would only repeat that.
    For the same reason, `names`, those of all documents by kind, are not reported as unknown; the document then
    `lacks` one. They are None if a file could not be read, whose specs are unknown. A document is
    `alone` if a single file was loaded.
    `replaced` holds each text with variables as written, and its value, which no finding shows. What depends on the
    machine is an error if `strict`, else a warning. `files` are those that the document names and that were read.
    `with_values` is the node with its variables replaced.
    """

    kind: str
    name: str
    node: MapNode = field(repr=False)
    diagnostics: Diagnostics
    shipped: bool = False
    unset: dict[Mark, str] = field(default_factory=dict)
    replaced: dict[Mark, tuple[str, str]] = field(default_factory=dict, repr=False)
    errors: int = 0
    strict: bool = True
    files: Fingerprints = field(default_factory=dict)
    names: Mapping[str, Collection[str]] | None = field(default_factory=dict, repr=False)
    lacks: bool = False
    alone: bool = False
    with_values: Node | None = field(default=None, repr=False)

    def unchecked(self, diagnostics: Diagnostics) -> "Document":
        """Return the document as it was read, with other diagnostics for its findings."""
        return Document(self.kind, self.name, self.node, diagnostics, self.shipped, names=self.names, alone=self.alone)

    def error(self, path: Path, what: str, hint: str = "", *, at_key: bool = False) -> None:
        mark = key_mark(self.node, path) if at_key else mark_of(self.node, path)
        if mark not in self.unset:
            self.errors += 1
            self.diagnostics.error(mark, format_path(path[:-1] if at_key else path), self._as_written(what), hint)

    def warning(self, path: Path, what: str, hint: str = "") -> None:
        self.diagnostics.warning(mark_of(self.node, path), format_path(path), self._as_written(what), hint)

    def note(self, path: Path, what: str, hint: str = "") -> None:
        self.diagnostics.note(mark_of(self.node, path), format_path(path), what, hint)

    def environmental(self, path: Path, what: str, hint: str = "") -> None:
        """Report an error that depends on this machine, and may not occur where the spec is served."""
        if self.strict:
            self.error(path, what, hint)
        elif mark_of(self.node, path) not in self.unset:
            self.warning(path, what, hint)

    def unknown(self, path: Path, kind: str, name: str, known: Iterable[str]) -> None:
        """Report that no spec of this kind has the name. If a single file is checked, the hint says what to do."""
        if self.names is None or name in self.names.get(kind, ()):
            self.lacks = True
            return
        hint = did_you_mean(name, known)
        if self.alone:
            hint = f"{hint}; a file is checked alone: if another file has it, check their folder".removeprefix("; ")
        self.error(path, f"no {kind} is named {name!r}", hint)

    def slow_patterns(self, patterns: Iterable[tuple[Path, str]]) -> None:
        """Warn of each regular expression that some texts take very long to match."""
        for path, pattern in patterns:
            group = nested_repeat(pattern)
            if group is not None:
                shown = "the pattern" if self.has_variable(path) else repr(group)
                what = f"matching may take exponential time: {shown} repeats what holds a repeat"
                self.warning(path, what, "make the inner repeat possessive, such as [a-z]++, or bound it")

    def problems(self, problems: Iterable[Problem]) -> None:
        """Report the problems of expressions; one with variables is not quoted in part."""
        for problem in problems:
            if self.has_variable(problem.path):
                written = self.written(problem.path)
                self.error(problem.path, f"{written!r} is not a valid expression once its variables are replaced")
            else:
                self.error(problem.path, problem.what, problem.hint)

    def has_variable(self, path: Path) -> bool:
        return mark_of(self.node, path) in self.replaced

    def written(self, path: Path) -> str:
        """Return the text of a scalar as written, without the values of variables."""
        node = find(self.node, path)
        return node.text if isinstance(node, Scalar) else ""

    def _as_written(self, what: str) -> str:
        for written, value in self.replaced.values():
            what = what.replace(repr(value), repr(written)) if value else what
        return what
