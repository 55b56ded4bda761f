"""Diagnostics as data: a place in a file, the key path, what is wrong and what to do.

Every check adds to one `Diagnostics` and continues: all findings are reported at once.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    severity: Severity
    mark: Mark
    path: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        word = "" if self.severity is Severity.ERROR else f"{self.severity}: "
        path = f"{self.path}: " if self.path else ""
        hint = f"; {self.hint}" if self.hint else ""
        return " ".join(f"{self.mark}: {word}{path}{self.what}{hint}".splitlines())

    def as_json(self) -> dict[str, Any]:
        others = {"path": self.path, "what": self.what, "hint": self.hint}
        return {"severity": self.severity.value, **asdict(self.mark), **others}


class Diagnostics:
    """Findings in the order of their places; an identical one counts once."""

    def __init__(self) -> None:
        self._found: dict[Diagnostic, None] = {}

    def add(self, diagnostic: Diagnostic) -> None:
        self._found[diagnostic] = None

    def error(self, mark: Mark, path: str, what: str, hint: str = "") -> None:
        self.add(Diagnostic(Severity.ERROR, mark, path, what, hint))

    def warning(self, mark: Mark, path: str, what: str, hint: str = "") -> None:
        self.add(Diagnostic(Severity.WARNING, mark, path, what, hint))

    def note(self, mark: Mark, path: str, what: str, hint: str = "") -> None:
        self.add(Diagnostic(Severity.NOTE, mark, path, what, hint))

    @property
    def has_errors(self) -> bool:
        return any(found.severity is Severity.ERROR for found in self._found)

    def __iter__(self) -> Iterator[Diagnostic]:
        return iter(sorted(self._found, key=lambda found: found.mark))

    def __len__(self) -> int:
        return len(self._found)
