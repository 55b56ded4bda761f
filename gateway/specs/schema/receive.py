"""The keys of a provider's `receive`: the requests of the vendor's reporters, and how they become data points."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.core.expression.lint import reads_only
from gateway.core.outcome.outcome import Reason
from gateway.core.points.decode import FIELD_READERS
from gateway.core.recipe.model import Recipe
from gateway.core.vendor.matching import ANY_REQUEST, RequestMatcher
from gateway.core.vendor.provider import (
    Level,
    LocalCall,
    PointField,
    Receive,
    RejectRule,
    RequestForm,
)
from gateway.specs.binding import types as t
from gateway.specs.binding.place import Place
from gateway.specs.binding.table import Key, Table, optional
from gateway.specs.schema.replies import REPLIES, REPLY_LIST
from gateway.specs.schema.rules import FIELDS

REQUEST = frozenset({"body", "query", "headers", "given"})
SEEN = REQUEST | {"request", "recipe", "key"}
METHOD = t.text("[A-Z]+")
_PATTERNS = t.one_or_more(t.TEXT, at_least=1)


def captures(path: str) -> list[str]:
    """Return the names of what a path captures."""
    return re.findall(r"\{([A-Za-z_]\w*)\*?\}", path)


def _conditions(
    host: Sequence[str] | None,
    type: Sequence[str] | None,
    headers: Mapping[str, Sequence[str]],
    query: Mapping[str, Sequence[str]],
    key: Sequence[str] | None = None,
) -> RequestMatcher:
    """Return what a request must have, by subject. Host and media type are compared in lower case."""
    tests = {
        "host": host and [pattern.lower() for pattern in host],
        "type": type and [pattern.lower() for pattern in type],
        **{f"header.{name.lower()}": patterns for name, patterns in headers.items()},
        **{f"query.{name}": patterns for name, patterns in query.items()},
        "key": key,
    }
    return RequestMatcher({subject: tuple(patterns) for subject, patterns in tests.items() if patterns is not None})


_MATCH_KEYS = (
    optional("host", _PATTERNS, "the Host header"),
    optional("type", _PATTERNS, "the media type"),
    optional("headers", t.map_of(_PATTERNS), "header fields by name", {}),
    optional("query", t.map_of(_PATTERNS), "query parameters by name", {}),
)
MATCH = Table("match", _conditions, *_MATCH_KEYS)
_KEY = optional("key", _PATTERNS, "the key ids whose reports belong to this route")
ROUTE_MATCH = Table("route.match", _conditions, *_MATCH_KEYS, _KEY)


def _check_path(at: Place, request: RequestForm) -> None:
    captured = captures(request.path)
    if len(set(captured)) < len(captured):
        at.error("the path captures the same name twice", "", "path")
    odd = re.search(r"\{[^{}]*\}?|[*}]", re.sub(r"\{[A-Za-z_]\w*(?:\}|\*\}$)", "", request.path))
    if odd is not None:
        hint = "write {name}, which captures one segment, or at the end {name*}, which captures all that follow"
        at.error(f"{odd[0]!r} in the path is not a capture", hint, "path")


REQUEST_KEYS = Table(
    "request",
    RequestForm,
    Key("method", METHOD, "the method"),
    Key("path", t.text("/.*"), "the path; `{name}` captures a segment as a `given`, `{name*}` the end of the path"),
    optional("ignore_case", t.BOOLEAN, "`true`: the path may be in any case", False),
    optional("match", MATCH, "conditions; the first request whose conditions hold is used", ANY_REQUEST),
    optional("body", t.word(("json", "form", "text", "none")), "how the body is parsed", "none"),
    optional("input", t.EXPRESSION, "replaces `body`", sees=lambda at: SEEN),
    check=_check_path,
)


def _local_call(at: Place, name: str, request: RequestForm, **keys: Any) -> RequestForm:
    call = LocalCall(**keys)
    if call.issues is not None and not call.verify:
        at.error("a call that issues a session needs `verify`: else anyone gets one")
    if call.ends is not None and "{token}" not in request.path:
        at.error("a call that ends a session captures it as {token}", "", "request", "path")
    return replace(request, name=name, input=None, local_call=call)


LOCAL_CALL = Table(
    "local_call",
    _local_call,
    Key("request", REQUEST_KEYS, "the call"),
    optional("verify", t.one_or_more(t.RECIPE_NAME), "recipes; without any, everyone may make the call", ()),
    optional("issues", t.TEXT, "the recipe whose secret is the session that this call creates"),
    optional("ends", t.TEXT, "the recipe whose session this call ends; the path captures it as `{token}`"),
    optional("lifetime_s", t.POSITIVE, "the lifetime of the session", 7200.0),
    Key(
        "reply",
        REPLY_LIST,
        "the reply; it sees `token`, `expires_ns` and the names of the request",
        lambda at: SEEN | {"token", "expires_ns", "request_id"},
    ),
)
REJECT = Table(
    "reject",
    RejectRule,
    Key("when", t.EXPRESSION, "rejects if it holds"),
    Key("reason", t.word(Reason), "the reason of the outcome"),
    Key("text", t.TEMPLATE, "the message of the outcome"),
)


def _read_levels(place: Place) -> tuple[Level, ...]:
    """Read `each`: every level sees the levels above it."""
    sources = t.map_of(t.ANYTHING, t.MEMBER_NAME, at_least=1).read(place)
    levels: list[Level] = []
    for name, source in sources.items():
        below = place.seeing(SEEN, [level.name for level in levels]).at(name)
        levels.append(Level(name, t.EXPRESSION.read(below), _reporter_path(source) or "the list of items"))
    if levels[-1].name != "item":
        place.error("the last level of `each` must be named `item`", "", levels[-1].name)
    return tuple(levels)


def _read_point(place: Place) -> tuple[PointField, ...]:
    sources = t.map_of(t.ANYTHING, FIELDS).read(place)
    compiled = place.scope.compiler.members(sources, place.names, place.path)
    return tuple(
        PointField(name, compiled[name], FIELD_READERS[name], _reporter_path(source) or name, reads_only(source, SEEN))
        for name, source in sources.items()
    )


def _reporter_path(source: Any) -> str:
    """Return `params.data` for `body.params.data`: the path that the reporter knows. It is empty for an expression."""
    if not isinstance(source, str):
        return ""
    head, dot, rest = source.partition(".")
    is_path = dot and head in ("body", "item") and all(part.isidentifier() for part in rest.split("."))
    return rest if is_path else source if source.isidentifier() else ""


EACH = t.Plain("map of expression", _read_levels, t.map_of(t.EXPRESSION, t.MEMBER_NAME, at_least=1).json)
POINT_KEYS = t.Plain("map of expression", _read_point, t.map_of(t.EXPRESSION, FIELDS).json)


def _item_names(at: Place) -> frozenset[str]:
    return SEEN | at.keys("each")


def _receive(
    at: Place,
    request: RequestForm | None,
    requests: Mapping[str, RequestForm],
    local_calls: Mapping[str, RequestForm],
    **keys: Any,
) -> Receive:
    if bool(request) == bool(requests):
        at.error("`receive` has either `request` or `requests`")
    own = [request] if request is not None else list(requests.values())
    local = list(local_calls.values())
    _check_distinct(at, own, local)
    names = [recipe.name for recipe in keys["verify"]]
    for call in local:
        for key in ("issues", "ends"):
            recipe = getattr(call.local_call, key)
            if recipe is not None and recipe not in names:
                at.error(f"{recipe!r} is not one of the recipes in `receive.verify`", "", "local_calls", call.name, key)
    # Replies decide nothing about a report.
    read = [chain for chain, path in at.scope.compiler.read.items() if path[:2] != ("receive", "replies")]
    return Receive(
        requests=(*own, *local),
        reads=_reads(read, own, at.scope.relay),
        known=_known(read, keys["verify"]),
        headers=None if at.scope.relay else _headers(at.scope.compiler.read),
        **keys,
    )


def _check_distinct(at: Place, own: Sequence[RequestForm], local: Sequence[RequestForm]) -> None:
    """Report two requests that nothing distinguishes."""
    forms = [(("requests", form.name) if "requests" in at.entries else ("request",), form) for form in own]
    forms += [(("local_calls", form.name), form) for form in local]
    for index, (path, form) in enumerate(forms):
        for _, other in forms[:index]:
            calls = {(each.method, _without_names(each)) for each in (form, other)}
            if len(calls) == 1 and (form.match == other.match or form.match.is_stricter_than(other.match)):
                what = f"{form.method} {form.path} is the same call as {other.name!r}"
                at.error(what, "the first that fits counts: distinguish them by `match`", *path)
                break


def _without_names(form: RequestForm) -> str:
    path = re.sub(r"\{\w+(\*?)\}", r"{\1}", form.path)
    return path.lower() if form.ignore_case else path


def _reads(read: Sequence[tuple[str, ...]], own: Sequence[RequestForm], relay: bool) -> frozenset[str]:
    """Return the parts of a request that decide something. A relay passes the body on."""
    roots = {chain[0] for chain in read}
    kinds: set[str] = {form.body for form in own if form.body != "none"} if relay or "body" in roots else set()
    headers = {f"header.{chain[1].replace('_', '-')}" for chain in read if chain[0] == "headers" and len(chain) > 1}
    return frozenset(kinds | ({"query"} & roots) | headers)


def _known(read: Sequence[tuple[str, ...]], verify: Sequence[Recipe]) -> dict[str, frozenset[str]]:
    """Return the members of `body` and `item` that expressions or recipes read, unless one is read as a whole."""
    carriers = [carrier for recipe in verify for carrier in recipe.carriers if carrier.may_be_in_body]
    known = {"body": {carrier.name.partition(".")[0] for carrier in carriers}, "item": set[str]()}
    for root, *path in read:
        if root in known and path:
            known[root].add(path[0])
    return {root: frozenset(names) for root, names in known.items() if (root,) not in read}


def _headers(read: Iterable[tuple[str, ...]]) -> dict[str, str] | None:
    """Return the headers that expressions read by their names in expressions, None if one reads them as a whole."""
    chains = [chain for chain in read if chain[:1] in ((), ("headers",))]
    if any(len(chain) < 2 for chain in chains):
        return None
    return {name: name.replace("_", "-") for _, name, *_ in chains if "-" not in name}


RECEIVE = Table(
    "receive",
    _receive,
    optional("request", REQUEST_KEYS, "the call, if there is only one"),
    optional("requests", t.map_of(REQUEST_KEYS, t.NAME_PATTERN), "the calls by name", {}),
    Key("verify", t.list_of(t.RECIPE_NAME, at_least=1), "recipes; the carriers in a request select one"),
    optional("reject_report", t.list_of(REJECT), "rejects the whole report", (), sees=lambda at: SEEN),
    optional("reject_item", t.list_of(REJECT), "rejects one item", (), sees=_item_names),
    optional("each", EACH, "nested lists, outermost first; each sees those above it; the last is named `item`", ()),
    optional("point", POINT_KEYS, "fields of a data point", (), sees=_item_names),
    optional("allow_empty", t.BOOLEAN, "`true`: a report without items is accepted", False),
    optional("on_bad_item", t.word(("reject_report", "reject_item")), "what one bad item rejects", "reject_report"),
    optional("local_calls", t.map_of(LOCAL_CALL, t.NAME_PATTERN), "calls that the gateway answers", {}),
    optional("replies", REPLIES, "the replies", sees=lambda at: SEEN),
)
