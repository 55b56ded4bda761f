"""Tables as Markdown whose columns stand under each other, so that they read alike in a terminal and on a page."""

from collections.abc import Sequence

WIDTH = 120


def markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table; the first row is its head."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [_line([cell.ljust(width) for cell, width in zip(row, widths, strict=True)]) for row in rows]
    return [lines[0], _line(["-" * width for width in widths]), *lines[1:]]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
