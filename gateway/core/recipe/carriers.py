"""Reads slots from a received request, and writes them into one that is being made."""

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.core.http.received import BodyNeeded, ReceivedRequest
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.model import Carrier, Recipe, SignatureSlot

MAX_SLOT_CHARS = 8192

# What no field of HTTP may hold (RFC 9110, section 5.5), wherever a slot sits.
_DANGEROUS = frozenset("\0\r\n")


def read_slots(recipe: Recipe, message: ReceivedRequest) -> dict[str, str]:
    """Return the text of each slot that the request carries.

    Raises CallerError: MISSING_CREDENTIALS when something is absent, BAD_CREDENTIALS when it stands twice, cannot be
    parsed, or two places disagree. Raises BodyNeeded if only the head was read and does not decide.
    """
    slots: dict[str, str] = {}
    for carrier in recipe.carriers:
        if message.head_only and carrier.may_be_in_body:
            raise BodyNeeded
        text = read_text(carrier, message)
        if text is None:
            if carrier.optional:
                continue
            raise CallerError.of(Reason.MISSING_CREDENTIALS, f"{place_in_words(carrier)} is missing")
        text = _cleaned(text, carrier, recipe, message)
        read = None
        if len(text) <= MAX_SLOT_CHARS and not _DANGEROUS & set(text):
            read = carrier.form.read(text)
        if read is None:
            raise CallerError.of(Reason.BAD_CREDENTIALS, f"{place_in_words(carrier)} cannot be read")
        for name, value in read.items():
            if slots.setdefault(name, value) != value:
                raise CallerError.of(Reason.BAD_CREDENTIALS, f"{place_in_words(carrier)} contradicts another place")
    if message.head_only and recipe.reads_body:
        raise BodyNeeded
    return slots


def write_slots(carriers: Iterable[Carrier], draft: UnsignedRequest, slots: Mapping[str, str]) -> UnsignedRequest:
    """Put slots where their carriers say."""
    for carrier in carriers:
        text = carrier.form.write(slots)
        if carrier.place == "header":
            draft = draft.with_header(carrier.name, text)
        elif carrier.place == "query" or (carrier.place == "param" and draft.body_kind == "none"):
            draft = draft.with_query(carrier.name, text)
        else:
            path = tuple(carrier.name.split(".")) if carrier.place == "json" else (carrier.name,)
            draft = draft.with_field(path, int(text) if carrier.type == "int" else text)
    return draft


def place_in_words(carrier: Carrier) -> str:
    if carrier.place == "header":
        return f"the header {carrier.name.title()}"
    return f"the parameter {carrier.name}"


def read_text(carrier: Carrier, message: ReceivedRequest) -> str | None:
    """Return what a request has where the carrier writes; None where it has nothing. Raises CallerError."""
    if carrier.place == "header":
        return _only(message.header_values(carrier.name), carrier)
    if carrier.place == "json" or (carrier.place == "param" and message.body_kind == "json"):
        path = carrier.name.split(".") if carrier.place == "json" else [carrier.name]
        return _member(message.body if message.body_kind == "json" else None, path, carrier)
    in_form = carrier.place == "form" or (carrier.place == "param" and message.body_kind == "form")
    if in_form and message.body_kind != "form":
        return None
    pairs = message.form if in_form else message.query
    return _only([value for name, value in pairs if name == carrier.name], carrier)


def _only(values: list[str], carrier: Carrier) -> str | None:
    if len(values) > 1:
        raise CallerError.of(Reason.BAD_CREDENTIALS, f"{place_in_words(carrier)} stands more than once")
    return values[0] if values else None


def _member(body: Any, path: list[str], carrier: Carrier) -> str | None:
    for name in path:
        body = body.get(name) if isinstance(body, dict) else None
    if body is None or isinstance(body, str):
        return body
    if isinstance(body, int) and not isinstance(body, bool):
        return str(body)
    raise CallerError.of(Reason.BAD_CREDENTIALS, f"{place_in_words(carrier)} is neither text nor an integer")


def _cleaned(text: str, carrier: Carrier, recipe: Recipe, message: ReceivedRequest) -> str:
    """Take off the blanks around a header's value, which are none of it (RFC 9110, section 5.5).

    Around a signature elsewhere, a line's end is what many base64 encoders write. A blank in a signature of a query is
    the `+` that a careless client did not encode.
    """
    if carrier.place == "header":
        return text.strip(" \t")
    if not any(isinstance(recipe.slots[name], SignatureSlot) for name in carrier.slots):
        return text
    if carrier.place == "query" or (carrier.place == "param" and message.body_kind == "none"):
        return text.strip("\r\n").replace(" ", "+")
    return text.strip(" \t\r\n")
