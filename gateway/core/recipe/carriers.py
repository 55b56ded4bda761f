"""Reads slots from a received request, and writes them into one that is being made."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from gateway.core.draft import Draft
from gateway.core.errors import CallerError
from gateway.core.message import Message
from gateway.core.outcome import Reason
from gateway.core.recipe.filters import to_text
from gateway.core.recipe.model import Carrier, Recipe, SignatureSlot, Slot
from gateway.core.recipe.template import RecipeError, Reference, Template

MAX_SLOT_CHARS = 4096


def carrier_pattern(template: Template, slots: Mapping[str, Slot]) -> re.Pattern[str]:
    """Return the pattern that parses what the template prints. Raises RecipeError where that would be ambiguous."""
    pattern = ""
    for part, following in zip(template.parts, (*template.parts[1:], ""), strict=True):
        if isinstance(part, str):
            # A run of blanks says no more than one blank (RFC 9110, section 5.6.3); servers trim it.
            pattern += re.escape(part).replace(r"\ ", " +")
            continue
        if part.filters:
            raise RecipeError(f"a carrier holds bare slots, and {{{part.name}}} has a filter")
        slot = slots.get(part.name)
        if slot is None:
            raise RecipeError(f"a carrier holds slots, and {part.name!r} is none")
        if isinstance(following, Reference) or (following and re.fullmatch(slot.chars, following[0])):
            raise RecipeError(
                f"where {{{part.name}}} ends cannot be told", "state its chars, or put a divider after it"
            )
        pattern += f"(?P<{part.name}>{slot.chars})"
    return re.compile(pattern)


def read_slots(recipe: Recipe, message: Message) -> dict[str, str]:
    """Return the text of each slot that the request carries.

    Raises CallerError: MISSING_CREDENTIALS when something is absent, BAD_CREDENTIALS when it stands twice, cannot be
    parsed, or two places disagree.
    """
    slots: dict[str, str] = {}
    for carrier in recipe.carriers:
        text = _read(carrier, message)
        if text is None:
            if carrier.optional:
                continue
            raise CallerError.of(Reason.MISSING_CREDENTIALS, f"{_place_in_words(carrier)} is missing")
        match = carrier.pattern.fullmatch(_unblank(text.strip(), carrier, recipe))
        if match is None or len(text) > MAX_SLOT_CHARS:
            raise CallerError.of(
                Reason.BAD_CREDENTIALS, f"{_place_in_words(carrier)} is not {carrier.template.source!r}"
            )
        for name, value in match.groupdict().items():
            if slots.setdefault(name, value) != value:
                raise CallerError.of(Reason.BAD_CREDENTIALS, f"{_place_in_words(carrier)} contradicts another place")
    return slots


def write_slots(carriers: Iterable[Carrier], draft: Draft, slots: Mapping[str, str]) -> Draft:
    """Put slots where their carriers say. An optional carrier whose slots have no value is left out."""
    for carrier in carriers:
        if carrier.optional and not carrier.template.names <= slots.keys():
            continue
        text = to_text(carrier.template.value(slots))
        if carrier.place == "header":
            draft = draft.with_header(carrier.name, text)
        elif carrier.place == "query" or (carrier.place == "param" and draft.body_kind == "none"):
            draft = draft.with_query(carrier.name, text)
        else:
            path = tuple(carrier.name.split(".")) if carrier.place == "json" else (carrier.name,)
            draft = draft.with_field(path, int(text) if carrier.type == "int" else text)
    return draft


def _read(carrier: Carrier, message: Message) -> str | None:
    if carrier.place == "header":
        return _only(message.request.header_values(carrier.name), carrier)
    if carrier.place == "json" or (carrier.place == "param" and message.body_kind == "json"):
        path = carrier.name.split(".") if carrier.place == "json" else [carrier.name]
        return _member(message.body, path, carrier)
    pairs = message.form if carrier.place == "form" or message.body_kind == "form" else message.query
    return _only([value for name, value in pairs if name == carrier.name], carrier)


def _only(values: list[str], carrier: Carrier) -> str | None:
    if len(values) > 1:
        raise CallerError.of(Reason.BAD_CREDENTIALS, f"{_place_in_words(carrier)} stands more than once")
    return values[0] if values else None


def _member(body: Any, path: list[str], carrier: Carrier) -> str | None:
    for name in path:
        body = body.get(name) if isinstance(body, dict) else None
    if body is None or isinstance(body, str):
        return body
    if isinstance(body, int) and not isinstance(body, bool):
        return str(body)
    raise CallerError.of(Reason.BAD_CREDENTIALS, f"{_place_in_words(carrier)} is neither text nor an integer")


def _unblank(text: str, carrier: Carrier, recipe: Recipe) -> str:
    """Read a blank in a base64 signature of a query as the `+` that a careless client did not encode."""
    in_query = carrier.place in ("query", "param")
    signs = any(isinstance(recipe.slots[name], SignatureSlot) for name in carrier.template.names)
    return text.replace(" ", "+") if in_query and signs else text


def _place_in_words(carrier: Carrier) -> str:
    if carrier.place == "header":
        return f"the header {carrier.name.title()}"
    return f"the parameter {carrier.name}"
