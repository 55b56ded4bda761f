"""How commands print: data on standard output, words about it on standard error."""

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.text import Text

from gateway.core.json import write_json
from gateway.core.model import DataPoint, Request, Response, Secret
from gateway.core.outcome import Outcome
from gateway.core.raw import write_raw
from gateway.specs.diagnostic import Diagnostics, Severity

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

_STYLE = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}


def heading(text: str) -> None:
    out.print(Text(f"── {text}", style="bold"))


def line(text: str, style: str = "") -> None:
    """Print one line; what looks like markup in it is none."""
    out.print(Text(text, style=style))


def print_json(value: Any) -> None:
    """Print one line of JSON."""
    sys.stdout.write(write_json(value).decode() + "\n")
    sys.stdout.flush()


def print_diagnostics(diagnostics: Diagnostics) -> None:
    for diagnostic in diagnostics:
        err.print(Text(str(diagnostic), style=_STYLE[diagnostic.severity]))


def request_text(request: Request, secrets: Iterable[Secret] = ()) -> str:
    """Return a request as it goes over the wire, line ends as LF and secrets masked."""
    text = write_raw(request).decode("utf-8", "backslashreplace").replace("\r\n", "\n").rstrip("\n")
    for secret in secrets:
        text = text.replace(secret.reveal(), "***")
    return text


def print_response(response: Response) -> None:
    line(f"HTTP/1.1 {response.status}")
    for name, value in response.headers:
        line(f"{name}: {value}")
    line("")
    line(response.body.decode("utf-8", "backslashreplace"))


def point_json(point: DataPoint) -> dict[str, Any]:
    """Return a data point as it is printed: without the members that it has not."""
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
