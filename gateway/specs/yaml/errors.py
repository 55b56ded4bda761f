"""Why YAML text cannot be read further. PyYAML's three most frequent errors get an explanation and a hint."""

import re
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

    def char(mark: Mark) -> str:
        line = lines[mark.line - 1] if mark.line <= len(lines) else ""
        return line[mark.column - 1 : mark.column]

    if re.search(r"cannot start any token|tab character", words):
        if char(here) == "\t":
            return Stopped(here, "a tab is not allowed here", "use spaces")
        return Stopped(here, f"'{char(here)}' cannot start an unquoted text", QUOTE)
    if "mapping values are not allowed" in words:
        return Stopped(here, "': ' is not allowed here", f"check the indentation, or {QUOTE}")
    if "quoted scalar" in words and not re.search(r"escape|hexa?decimal", words):
        return Stopped(start, f"the quote {char(start)} is never closed", "close it")
    return Stopped(here, f"not YAML: {error.problem or 'it cannot be read'}", f"check the indentation, or {QUOTE}")
