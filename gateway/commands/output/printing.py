"""Prints data on standard output and diagnostics on standard error, without secrets or control characters."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from gateway.commands.output.errors import printable
from gateway.core.http.json import write_json
from gateway.core.http.request import Request, Response, Secret
from gateway.core.http.text import format_request
from gateway.core.outcome.masking import mask_secrets
from gateway.core.outcome.outcome import Outcome
from gateway.core.points.point import DataPoint
from gateway.core.recipe.evaluate import Evaluation
from gateway.core.recipe.filters import to_text
from gateway.specs.yaml.diagnostic import Diagnostics, Severity

MASK = "***"
MAX_TABLE_CHARS = 120

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

_STYLE = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}


def heading(text: str) -> None:
    line(f"── {text}", "bold")


def line(text: str, style: str = "") -> None:
    """Print text without reading markup in it, control characters as escapes."""
    if style:
        out.print(Text(printable(text), style=style))
    else:
        print(printable(text))


def print_json(value: Any) -> None:
    """Print one line of JSON."""
    sys.stdout.write(json_line(value) + "\n")
    sys.stdout.flush()


def json_line(value: Any) -> str:
    """Return one line of JSON. Bytes that were not UTF-8 are written as lone surrogates, `\\udc80` and up."""
    try:
        data = write_json(value)
    except ValueError:
        data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
    return data.decode()


def print_diagnostics(diagnostics: Diagnostics) -> None:
    for diagnostic in diagnostics:
        err.print(Text(printable(str(diagnostic)), style=_STYLE[diagnostic.severity]))


def print_pairs(pairs: Mapping[str, str]) -> None:
    """Print a line for each name and its text, the texts in one column."""
    width = max(map(len, pairs), default=0)
    for name, text in pairs.items():
        line(f"{name:{width}}  {text}")


def table_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table with aligned columns; the first row is its head."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    cells = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    cells.insert(1, ["-" * width for width in widths])
    return [f"| {' | '.join(row)} |" for row in cells]


def print_response(response: Mapping[str, Any]) -> None:
    """Print a response as `response_json` returns it."""
    head = [f"HTTP/1.1 {response['status']}", *(f"{name}: {value}" for name, value in response["headers"])]
    line("\n".join([*head, "", response["body"]] if response["body"] else head))


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def request_text(request: Request, secrets: Iterable[Secret] = ()) -> str:
    """Return a request as it is sent, with LF line ends and masked secrets."""
    text = format_request(request).decode("utf-8", "backslashreplace").replace("\r\n", "\n").rstrip("\n")
    return mask_secrets(text, secrets)


def response_json(response: Response, secrets: Iterable[Secret] = ()) -> dict[str, Any]:
    secrets = list(secrets)
    return {
        "status": response.status,
        "headers": [[name, mask_secrets(value, secrets)] for name, value in response.headers],
        "body": mask_secrets(response.body.decode("utf-8", "backslashreplace"), secrets),
    }


def string_to_sign(evaluation: Evaluation | None) -> str:
    """Return the string to sign, masked if it depends on the secret; empty for an unsigned call."""
    if evaluation is None or evaluation.recipe.signature is None:
        return ""
    hides = evaluation.recipe.signature.of.names & {"secret", *evaluation.recipe.masked}
    return MASK if hides else to_text(evaluation.string_to_sign)


def point_json(point: DataPoint) -> dict[str, Any]:
    """Return the members of a data point that are present."""
    return {name: value for name, value in point.as_mapping().items() if value is not None}


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    fields = {
        "code": str(outcome.code),
        "reason": str(outcome.reason) if outcome.reason else None,
        "message": outcome.message or None,
        "accepted": outcome.accepted,
        "rejected": [
            {"index": each.index, "reason": str(each.reason), "message": each.message} for each in outcome.rejected
        ],
    }
    return {name: value for name, value in fields.items() if value not in (None, [])}
