"""The keys of `replies`, and of the `reply` of a local call: how a vendor answers."""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.core.expression import Expression
from gateway.core.expression.compiler import Text, unescaped_names
from gateway.core.outcome.outcome import Code, Reason
from gateway.core.vendor.provider import ErrorRow, Replies, Shape
from gateway.specs.binding.place import Place
from gateway.specs.binding.table import Key, Table
from gateway.specs.binding.types import (
    ANYTHING,
    CONDITION,
    EXPRESSION,
    HEADERS,
    TEMPLATE,
    Composed,
    Plain,
    integer,
    map_of,
    one_or_more,
)
from gateway.specs.yaml.nodes import ListNode

OUTCOME = frozenset({"code", "reason", "message", "accepted", "rejected", "request_id", "retry_after_s"})
# Names in a reply whose values come from the gateway or the provider, and not from the reporter or the upstream.
_FIXED_TEXT = {"error", "code", "reason", "accepted", "request_id", "retry_after_s", "request", "recipe", "token"}
_STATUS = integer(at_least=200, at_most=599)
Headers = tuple[tuple[str, Text], ...]


def _shape(
    at: Place,
    when: Expression | None = None,
    status: Expression = lambda names: 200,
    headers: Headers = (),
    json: Expression | None = None,
    text: Text | None = None,
) -> Shape:
    if json is not None and text is not None:
        at.error("a reply has `json` or `text`, not both")
    _warn_of_unescaped(at, [at.plain.get("headers", {})])
    return Shape(when, status, headers, json, text)


SHAPE = Table(
    "reply",
    _shape,
    Key("when", CONDITION, "condition; the first reply of a list whose `when` holds is used"),
    Key("status", EXPRESSION, "the HTTP status (200)"),
    Key("headers", HEADERS, "header fields"),
    Key("json", EXPRESSION, "the body as JSON"),
    Key("text", TEMPLATE, "the body as text"),
)
SHAPES = one_or_more(SHAPE)


def _warn_of_unescaped(at: Place, headers: Sequence[Mapping[str, Any]]) -> None:
    """Warn if an XML reply repeats a value of a report without escaping: the value could add elements."""
    types = [str(value) for each in headers for name, value in each.items() if name.lower() == "content-type"]
    text = at.plain.get("text")
    if not isinstance(text, str) or not any("xml" in each.lower() for each in types):
        return
    for name in unescaped_names(text):
        if name.split(".")[0] not in _FIXED_TEXT:
            what = f"the reply is XML, and {{{name}}} is not escaped in it"
            at.warning(what, f"write {{{name}|xml}}", "text")


_ROW_KEYS: dict[str, Plain] = {
    "when": CONDITION,
    "status": _STATUS,
    "headers": HEADERS,
    "json": EXPRESSION,
    "text": TEMPLATE,
}


def _read_row(place: Place) -> ErrorRow:
    """Read a row of `errors`: the keys of a reply are bound, all others are the vendor's words."""
    words = map_of(ANYTHING).read(place)
    stated = {name: words.pop(name) for name in _ROW_KEYS if name in words}
    bound = {name: _ROW_KEYS[name].read(place.at(name)) for name, value in stated.items() if value is not None}
    return ErrorRow(words, *(bound.get(name) for name in _ROW_KEYS))


ROW = Composed(
    "map",
    _read_row,
    lambda of: {"type": "object", "properties": {name: of(_ROW_KEYS[name]) for name in _ROW_KEYS}},
)


def _replies(
    at: Place,
    error: Sequence[Shape],
    ok: Sequence[Shape] = (),
    partial: Sequence[Shape] = (),
    errors: Mapping[str, tuple[ErrorRow, ...]] | None = None,
) -> Replies:
    shapes = at.at("error")
    error_headers = [shape.get("headers", {}) for shape in (shapes.plain if _is_list(shapes) else [shapes.plain])]
    errors = errors or {}
    for word in errors:
        rows = at.at("errors").at(word)
        for row in rows if _is_list(rows) else [rows]:
            own = row.plain.get("headers")
            _warn_of_unescaped(row, error_headers if own is None else [own])
    return Replies(tuple(ok), tuple(partial), tuple(error), errors)


def _is_list(place: Place) -> bool:
    return isinstance(place.node, ListNode)


REPLIES = Table(
    "replies",
    _replies,
    Key("ok", SHAPES, "the reply to an accepted report", lambda at: at.names | OUTCOME),
    Key("partial", SHAPES, "the reply if only some items are accepted", lambda at: at.names | OUTCOME | {"error"}),
    Key("error", SHAPES, "the reply to a rejected report", lambda at: at.names | OUTCOME | {"error"}),
    Key(
        "errors",
        map_of(one_or_more(ROW), (*Reason, *Code, "default")),
        "rows of plain data by reason, code or `default`, which expressions see as `error`. A row may contain"
        " `when`, `status`, `headers`, `json` and `text`",
        lambda at: at.names | OUTCOME | {"error"},
    ),
)
