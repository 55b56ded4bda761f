"""The keys of `replies`, and of the `reply` of a local call: how a vendor answers."""

from collections.abc import Iterable

from gateway.core.expression.compiler import unescaped_names
from gateway.core.outcome.outcome import Code, Reason
from gateway.core.vendor.provider import ErrorRow, Replies, Shape
from gateway.specs.binding import types as t
from gateway.specs.binding.place import Place
from gateway.specs.binding.table import Key, Table, optional
from gateway.specs.yaml.nodes import ListNode

OUTCOME = frozenset({"code", "reason", "message", "accepted", "rejected", "request_id", "retry_after_s"})
# Names in a reply whose values come from the gateway or the provider, and not from the reporter or the upstream.
_FIXED_TEXT = {"error", "code", "reason", "accepted", "request_id", "retry_after_s", "request", "recipe", "token"}


def _check_reply(at: Place, reply: Shape) -> None:
    if reply.json is not None and reply.text is not None:
        at.error("a reply has `json` or `text`, not both")
    _warn_of_unescaped(at, [at])


def _warn_of_unescaped(at: Place, shapes: Iterable[Place]) -> None:
    """Warn if an XML reply repeats a value of a report without escaping: the value could add elements."""
    headers = [header for shape in shapes for header in (shape.plain.get("headers") or {}).items()]
    is_xml = any(name.lower() == "content-type" and "xml" in str(value).lower() for name, value in headers)
    text = at.plain.get("text")
    for name in unescaped_names(text) if is_xml and isinstance(text, str) else ():
        if name.split(".")[0] not in _FIXED_TEXT:
            what = f"the reply is XML, and {{{name}}} is not escaped in it"
            at.warning(what, f"write {{{name}|xml}}", "text")


REPLY = Table(
    "reply",
    Shape,
    optional("when", t.EXPRESSION, "condition; the first reply of a list whose `when` holds is used"),
    optional("status", t.EXPRESSION, "the HTTP status (200)"),
    optional("headers", t.HEADERS, "header fields", ()),
    optional("json", t.EXPRESSION, "the body as JSON"),
    optional("text", t.TEMPLATE, "the body as text"),
    check=_check_reply,
)
REPLY_LIST = t.one_or_more(REPLY)

_ROW_KEYS: dict[str, t.Plain] = {
    "when": t.EXPRESSION,
    "status": t.integer(at_least=200, at_most=599),
    "headers": t.HEADERS,
    "json": t.EXPRESSION,
    "text": t.TEMPLATE,
}


def _read_row(place: Place) -> ErrorRow:
    """Read a row of `errors`: the keys of a reply are bound, all others are the vendor's words."""
    words = t.map_of(t.ANYTHING).read(place)
    stated = {name: words.pop(name, None) for name in _ROW_KEYS}
    bound = [None if stated[name] is None else read.read(place.at(name)) for name, read in _ROW_KEYS.items()]
    return ErrorRow(words, *bound)


ROW = t.Plain(
    "map",
    _read_row,
    {"type": "object", "properties": _ROW_KEYS},
)


def _check_replies(at: Place, replies: Replies) -> None:
    for word in replies.errors:
        for row in _each(at.at("errors").at(word)):
            _warn_of_unescaped(row, [row] if row.plain.get("headers") else _each(at.at("error")))


def _each(place: Place) -> Iterable[Place]:
    return place if isinstance(place.node, ListNode) else [place]


def _names(at: Place) -> frozenset[str]:
    return at.names | OUTCOME | {"error"}


REPLIES = Table(
    "replies",
    Replies,
    optional("ok", REPLY_LIST, "the reply to an accepted report", (), sees=lambda at: at.names | OUTCOME),
    optional("partial", REPLY_LIST, "the reply if only some items are accepted", (), sees=_names),
    Key("error", REPLY_LIST, "the reply to a rejected report", _names),
    optional(
        "errors",
        t.map_of(t.one_or_more(ROW), (*Reason, *Code, "default")),
        "rows of plain data, seen as `error`. A row may contain `when`, `status`, `headers`, `json` and `text`",
        {},
        sees=_names,
    ),
    check=_check_replies,
)
