"""Reads slots from a received request, and writes them into an unsigned one."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from gateway.core.http.received import BodyNeeded, ReceivedRequest
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.slots import Carrier

MAX_SLOT_CHARS = 8192

# HTTP allows these in no field (RFC 9110, section 5.5); the other places follow the same rule.
_FORBIDDEN = re.compile("[\0\r\n]")


def read_slots(recipe: Recipe, message: ReceivedRequest) -> dict[str, str]:
    """Return the text of each slot that the request carries.

    Raises CallerError: MISSING_CREDENTIALS for an absent carrier; BAD_CREDENTIALS for one that is repeated, cannot be
    read, or differs from another place. Raises BodyNeeded if only the head was read and does not decide.
    """
    slots: dict[str, str] = {}
    for carrier in recipe.carriers:
        if message.head_only and carrier.may_be_in_body:
            raise BodyNeeded
        text = read_text(carrier, message)
        if text is None:
            if carrier.optional:
                continue
            raise CallerError.of(Reason.MISSING_CREDENTIALS, f"{described(carrier)} is missing")
        # Whitespace around a header's value is not part of it (RFC 9110, section 5.5).
        text = text.strip(" \t") if carrier.place == "header" else _repaired(text, carrier, recipe, message)
        read = None
        if len(text) <= MAX_SLOT_CHARS and (text.isprintable() or not _FORBIDDEN.search(text)):
            read = carrier.syntax.read(text)
        if read is None:
            raise CallerError.of(Reason.BAD_CREDENTIALS, f"{described(carrier)} cannot be read")
        if not slots:
            slots = read
            continue
        for name, value in read.items():
            if slots.setdefault(name, value) != value:
                raise CallerError.of(Reason.BAD_CREDENTIALS, f"{described(carrier)} contradicts another place")
    if message.head_only and recipe.reads_body:
        raise BodyNeeded
    return slots


def write_slots(carriers: Iterable[Carrier], draft: UnsignedRequest, slots: Mapping[str, str]) -> UnsignedRequest:
    """Write the carriers whose slots have values; each replaces what the draft has in its place. Raises SpecError."""
    headers: dict[str, tuple[str, str]] = {}
    query: dict[str, tuple[str, str]] = {}
    fields: dict[tuple[str, ...], str | int] = {}
    for carrier in carriers:
        try:
            text = carrier.syntax.write(slots)
        except KeyError:  # the value of an optional slot is not given
            continue
        if carrier.place == "header":
            headers[carrier.lower_name] = (carrier.name, text)
        elif carrier.place == "query" or (carrier.place == "param" and draft.body_kind == "none"):
            query[carrier.name] = (carrier.name, text)
        else:
            fields[carrier.path] = int(text) if carrier.type == "int" else text
    return draft.with_parts(headers, query, fields) if headers or query or fields else draft


def described(carrier: Carrier) -> str:
    """Name the carrier in an error message."""
    return f"the header {carrier.name.title()}" if carrier.place == "header" else f"the parameter {carrier.name}"


def read_text(carrier: Carrier, message: ReceivedRequest) -> str | None:
    """Return the carrier's value in a request, or None if it is absent. Raises CallerError."""
    kind = message.body_kind
    if carrier.place == "header":
        values = message.request.header_index.get(carrier.lower_name, [])
    elif carrier.place == "json" or (carrier.place == "param" and kind == "json"):
        return _member(message.body if kind == "json" else None, carrier)
    elif carrier.place == "form" or (carrier.place == "param" and kind == "form"):
        values = [value for name, value in message.form if name == carrier.name] if kind == "form" else []
    else:
        values = [value for name, value in message.query if name == carrier.name]
    if len(values) > 1:
        raise CallerError.of(Reason.BAD_CREDENTIALS, f"{described(carrier)} is repeated")
    return values[0] if values else None


def _member(body: Any, carrier: Carrier) -> str | None:
    for name in carrier.path:
        body = body.get(name) if isinstance(body, dict) else None
    if body is None or isinstance(body, str):
        return body
    if isinstance(body, int) and not isinstance(body, bool):
        return str(body)
    raise CallerError.of(Reason.BAD_CREDENTIALS, f"{described(carrier)} is neither text nor an integer")


def _repaired(text: str, carrier: Carrier, recipe: Recipe, message: ReceivedRequest) -> str:
    """Clean up a signature outside the headers.

    Many base64 encoders append a line break. A space in a signature in a query is a `+` that was not encoded.
    """
    if recipe.signature is None or recipe.signature.name not in carrier.slots:
        return text
    if carrier.place == "query" or (carrier.place == "param" and message.body_kind == "none"):
        return text.strip("\r\n").replace(" ", "+")
    return text.strip(" \t\r\n")
