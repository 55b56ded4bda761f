"""Why a YAML text cannot be read on: PyYAML's errors, told in words of the text and with what to do.

Nothing is read here; `yaml_reader` raises and catches `Stopped`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from gateway.specs.yaml.diagnostic import Mark

QUOTE = "put the expression in double quotes"


class Stopped(Exception):
    """Nothing after this place can be read."""

    def __init__(self, mark: Mark, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.mark = mark
        self.what = what
        self.hint = hint


def to_mark(mark: Any, file: str) -> Mark:
    return Mark(file, mark.line + 1, mark.column + 1) if mark else Mark(file, 1, 1)


def explain(error: yaml.MarkedYAMLError, lines: list[str], file: str) -> Stopped:
    here = to_mark(error.problem_mark or error.context_mark, file)
    start = to_mark(error.context_mark or error.problem_mark, file)
    words = f"{error.context or ''}; {error.problem or ''}"
    for pattern, tell in _EXPLANATIONS:
        if re.search(pattern, words):
            return tell(_Spot(here, start, lines))
    return Stopped(here, f"not YAML: {error.problem or 'it cannot be read'}")


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where PyYAML stumbled (`here`) and where the thing it was reading began (`start`)."""

    here: Mark
    start: Mark
    lines: list[str]

    def char(self, mark: Mark) -> str:
        line = self.lines[mark.line - 1] if mark.line <= len(self.lines) else ""
        return line[mark.column - 1 : mark.column]

    @property
    def line(self) -> str:
        return self.lines[self.here.line - 1] if self.here.line <= len(self.lines) else ""

    @property
    def before(self) -> str:
        return self.line[: self.here.column - 1]

    @property
    def at_end(self) -> bool:
        return not "".join([self.line[self.here.column - 1 :], *self.lines[self.here.line :]]).strip()

    @property
    def after_comment(self) -> bool:
        above = next((line for line in reversed(self.lines[: self.here.line - 1]) if line.strip()), "")
        return " #" in above and not above.lstrip().startswith("#")


def _bad_start(spot: _Spot) -> Stopped:
    char = spot.char(spot.here)
    if char == "\t":
        return Stopped(spot.here, "a tab where only spaces may stand", "use spaces")
    return Stopped(spot.here, f"'{char}' cannot start an unquoted text", QUOTE)


def _bad_colon(spot: _Spot) -> Stopped:
    if ": " in spot.before:
        return Stopped(spot.here, "a second ': ' in one line", QUOTE)
    return Stopped(spot.here, "': ' where no key can stand", f"check the indentation, or {QUOTE}")


def _bad_escape(spot: _Spot) -> Stopped:
    column = max(spot.line.rfind("\\", 0, spot.here.column), 0)
    what = f"'{spot.line[column : column + 2]}' starts an escape that cannot be read"
    return Stopped(Mark(spot.here.file, spot.here.line, column + 1), what, "write a backslash as '\\\\'")


def _open_quote(spot: _Spot) -> Stopped:
    return Stopped(spot.start, f"the quote {spot.char(spot.start)} is never closed", "close it")


def _bad_flow(spot: _Spot) -> Stopped:
    opening = spot.char(spot.start)
    closing = "}" if opening == "{" else "]"
    if spot.at_end:
        return Stopped(spot.start, f"'{opening}' is never closed", f"close it with '{closing}', or {QUOTE}")
    what = f"neither ',' nor '{closing}' after an item of the '{opening}' on line {spot.start.line}"
    return Stopped(spot.here, what, QUOTE)


def _bad_line(spot: _Spot) -> Stopped:
    if before := spot.before.strip():
        return Stopped(spot.here, f"text after a value that ended with {before[-1]}", QUOTE)
    if spot.after_comment and ":" not in spot.line:
        return Stopped(spot.here, "text goes on after a ' #', which starts a comment", QUOTE)
    return Stopped(spot.here, "a line that fits no map or list above it", "check its indentation")


def _no_colon(spot: _Spot) -> Stopped:
    return Stopped(spot.start, "a key without ': '", f"write 'key: value', or {QUOTE}")


def _bad_name(spot: _Spot) -> Stopped:
    name = {"*": "an alias", "&": "an anchor", "!": "a tag", "%": "a directive"}
    char = spot.char(spot.start)
    return Stopped(spot.start, f"'{char}' starts {name.get(char, 'something')} that cannot be read", QUOTE)


def _bad_block(spot: _Spot) -> Stopped:
    char = spot.char(spot.start)
    return Stopped(spot.start, f"'{char}' starts a text of several lines, and something follows it", QUOTE)


def _no_value(spot: _Spot) -> Stopped:
    if spot.at_end:
        return Stopped(spot.here, "the file ends where a value must stand", "close what is open above")
    return Stopped(spot.here, f"'{spot.char(spot.here)}' where a value must stand", QUOTE)


# What PyYAML's two parsers say, in either's words; the first that matches explains it.
_EXPLANATIONS: tuple[tuple[str, Callable[[_Spot], Stopped]], ...] = (
    (r"cannot start any token|tab character", _bad_start),
    (r"mapping values are not allowed", _bad_colon),
    (r"directive|incompatible|an? (alias|anchor|tag)\b|tag handle", _bad_name),
    (r"escape|hexa?decimal", _bad_escape),
    (r"quoted scalar", _open_quote),
    (r"block scalar", _bad_block),
    (r"flow (mapping|sequence)", _bad_flow),
    (r"node content|not allowed|unexpected ':'", _no_value),
    (r"simple key", _no_colon),
    (r"block (mapping|collection)|document start", _bad_line),
)
