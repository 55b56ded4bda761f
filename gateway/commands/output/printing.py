"""How commands print: data on standard output, words about it on standard error; no secrets, no control characters."""

import json
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.text import Text

from gateway.commands.output.facts import Fact, Facts
from gateway.core.http.json import write_json
from gateway.core.http.request import Request, Response, Secret
from gateway.core.http.text import write_raw
from gateway.core.outcome.masking import mask_secrets
from gateway.core.outcome.outcome import Outcome
from gateway.core.points.point import DataPoint
from gateway.specs.yaml.diagnostic import Diagnostics, Severity

INDENT = 13
MAX_LISTED = 100

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

_STYLE = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}


def heading(text: str) -> None:
    line(f"── {text}", "bold")


def line(text: str, style: str = "") -> None:
    """Print text; what looks like markup in it is none, and what a terminal would obey is shown instead."""
    if style:
        out.print(Text(printable(text), style=style))
    else:
        print(printable(text))


def print_json(value: Any) -> None:
    """Print one line of JSON."""
    sys.stdout.write(json_line(value) + "\n")
    sys.stdout.flush()


def json_line(value: Any) -> str:
    """Return one line of JSON; what was not UTF-8 on the wire is written as lone surrogates, `\\udc80` and up."""
    try:
        data = write_json(value)
    except ValueError:
        data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
    return data.decode()


def print_diagnostics(diagnostics: Diagnostics) -> None:
    for diagnostic in diagnostics:
        err.print(Text(printable(str(diagnostic)), style=_STYLE[diagnostic.severity]))


def print_response(response: Response, secrets: Iterable[Secret] = ()) -> None:
    line(mask_secrets(response_text(response), list(secrets)))


def print_facts(facts: Facts) -> None:
    """Print facts, the first of them as the heading."""
    (kind, name), *others = facts.items()
    heading(f"{kind.replace('_', ' ')} {name}")
    for key, fact in others:
        label = key.replace("_", " ")
        for text in _fact_lines(fact):
            line(f"{label:{INDENT - 1}} {text}")
            label = ""


def _fact_lines(fact: Fact) -> list[str]:
    if isinstance(fact, dict):
        width = max(map(len, fact))
        return [f"{name:{width}}  {text}" for name, text in fact.items()]
    if isinstance(fact, str):
        return [fact]
    listed = ", ".join(fact)
    return [listed] if len(listed) < MAX_LISTED and not any("," in each for each in fact) else fact


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def printable(text: str) -> str:
    """Return the text with all but printable characters, line feeds and tabs written as escapes."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in "\n\t" else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    byte = ord(character) - 0xDC00  # surrogateescape keeps bytes so
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else character.encode("unicode_escape").decode()


def request_text(request: Request, secrets: Iterable[Secret] = ()) -> str:
    """Return a request as it goes over the wire, line ends as LF and secrets masked."""
    text = write_raw(request).decode("utf-8", "backslashreplace").replace("\r\n", "\n").rstrip("\n")
    return mask_secrets(text, secrets)


def response_text(response: Response) -> str:
    head = [f"HTTP/1.1 {response.status}", *(f"{name}: {value}" for name, value in response.headers)]
    body = response.body.decode("utf-8", "backslashreplace")
    return "\n".join([*head, "", body] if body else head)


def response_json(response: Response, secrets: Iterable[Secret] = ()) -> dict[str, Any]:
    secrets = list(secrets)
    return {
        "status": response.status,
        "headers": [[name, mask_secrets(value, secrets)] for name, value in response.headers],
        "body": mask_secrets(response.body.decode("utf-8", "backslashreplace"), secrets),
    }


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
