"""The keys of a provider's `receive`: the requests of the vendor's reporters, and how they become data points."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from gateway.core.expression import Expression
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.model import Recipe
from gateway.core.vendor.matching import ANY_REQUEST, RequestMatcher
from gateway.core.vendor.provider import (
    Level,
    LocalCall,
    PointField,
    Receive,
    RejectRule,
    Replies,
    RequestMatch,
    Shape,
)
from gateway.specs.binding.place import Place
from gateway.specs.binding.table import Key, Table
from gateway.specs.binding.types import (
    ANYTHING,
    BOOLEAN,
    CONDITION,
    EXPRESSION,
    MEMBER_NAME,
    NAME_PATTERN,
    POSITIVE,
    RECIPE_NAME,
    TEMPLATE,
    TEXT,
    Composed,
    list_of,
    map_of,
    one_or_more,
    text,
    word,
)
from gateway.specs.schema.replies import REPLIES, SHAPES
from gateway.specs.schema.rules import FIELDS

REQUEST = frozenset({"body", "query", "headers", "given"})
SEEN = REQUEST | {"request", "recipe", "key"}
METHOD = text("[A-Z]+")
_PATTERNS = one_or_more(TEXT, at_least=1)


def captures(path: str) -> list[str]:
    """Return the names of the segments that a path captures."""
    return re.findall(r"\{([A-Za-z_]\w*)\}", path)


def _conditions(
    host: Sequence[str] | None = None,
    type: Sequence[str] | None = None,
    headers: Mapping[str, Sequence[str]] | None = None,
    query: Mapping[str, Sequence[str]] | None = None,
    key: Sequence[str] | None = None,
) -> RequestMatcher:
    """Return what a request must have, by subject. Host and media type are compared in lower case."""
    tests: dict[str, Sequence[str] | None] = {"host": _lower(host), "type": _lower(type)}
    tests |= {f"header.{name.lower()}": patterns for name, patterns in (headers or {}).items()}
    tests |= {f"query.{name}": patterns for name, patterns in (query or {}).items()}
    tests["key"] = key
    return RequestMatcher({subject: tuple(patterns) for subject, patterns in tests.items() if patterns is not None})


def _lower(patterns: Sequence[str] | None) -> list[str] | None:
    return None if patterns is None else [pattern.lower() for pattern in patterns]


_MATCH_KEYS = (
    Key("host", _PATTERNS, "the Host header"),
    Key("type", _PATTERNS, "the media type"),
    Key("headers", map_of(_PATTERNS), "header fields by name"),
    Key("query", map_of(_PATTERNS), "query parameters by name"),
)
MATCH = Table("match", _conditions, *_MATCH_KEYS)
ROUTE_MATCH = Table(
    "route.match", _conditions, *_MATCH_KEYS, Key("key", _PATTERNS, "the key ids whose reports belong to this route")
)


def _request(
    at: Place,
    name: str,
    method: str,
    path: str,
    match: RequestMatcher = ANY_REQUEST,
    body: Literal["json", "form", "text", "none"] = "none",
    input: Expression | None = None,
) -> RequestMatch:
    captured = captures(path)
    if len(set(captured)) < len(captured):
        at.error("the path captures the same name twice", "", "path")
    odd = re.search(r"\{[^{}]*\}?|[*}]", re.sub(r"\{[A-Za-z_]\w*\}", "", path))
    if odd is not None:
        at.error(f"{odd[0]!r} in the path is not a capture", "write {name}, which captures one segment", "path")
    return RequestMatch(name, method, path, body, input, match=match)


REQUEST_KEYS = Table(
    "request",
    _request,
    Key("method", METHOD, "the method"),
    Key("path", text("/.*"), "the path, in which `{name}` captures one segment as a `given`"),
    Key("match", MATCH, "conditions; the first request whose conditions hold is used"),
    Key("body", word(("json", "form", "text", "none")), "how the body is parsed"),
    Key("input", EXPRESSION, "replaces `body`", lambda at: SEEN),
)


def _local_call(
    at: Place,
    name: str,
    request: RequestMatch,
    reply: Sequence[Shape],
    verify: Sequence[Recipe] = (),
    issues: str | None = None,
    ends: str | None = None,
    lifetime_s: float = 7200,
) -> RequestMatch:
    if issues is not None and not verify:
        at.error("a call that issues a session needs `verify`: else anyone gets one")
    if ends is not None and "{token}" not in request.path:
        at.error("a call that ends a session captures it as {token}", "", "request", "path")
    call = LocalCall(tuple(verify), issues, ends, lifetime_s, tuple(reply))
    return RequestMatch(name, request.method, request.path, request.body, None, call, request.match)


LOCAL_CALL = Table(
    "local_call",
    _local_call,
    Key("request", REQUEST_KEYS, "the call"),
    Key("verify", one_or_more(RECIPE_NAME), "recipes; without any, everyone may make the call"),
    Key("issues", TEXT, "the recipe whose secret is the session that this call creates"),
    Key("ends", TEXT, "the recipe whose session this call ends; the path captures the session as `{token}`"),
    Key(
        "lifetime_s",
        POSITIVE,
        "the lifetime of the session. Loading takes about 50 ms for each new account that can log in, because"
        " the key of its sessions is derived from its secret by scrypt",
    ),
    Key(
        "reply",
        SHAPES,
        "the reply; it sees `token`, `expires_ns` and the names of the request",
        lambda at: SEEN | {"token", "expires_ns", "request_id"},
    ),
)


REJECTION = Table(
    "reject",
    RejectRule,
    Key("when", CONDITION, "rejects if it holds"),
    Key("reason", word(Reason), "the reason of the outcome"),
    Key("text", TEMPLATE, "the message of the outcome"),
)


def _read_levels(place: Place) -> tuple[Level, ...]:
    """Read `each`: every level sees the levels above it."""
    sources = map_of(ANYTHING, MEMBER_NAME, at_least=1).read(place)
    levels: list[Level] = []
    for name, source in sources.items():
        below = place.seeing(SEEN, [level.name for level in levels]).at(name)
        levels.append(Level(name, EXPRESSION.read(below), source if isinstance(source, str) else ""))
    if levels[-1].name != "item":
        place.error("the last level of `each` must be named `item`", "", levels[-1].name)
    return tuple(levels)


def _read_point(place: Place) -> tuple[PointField, ...]:
    sources = map_of(ANYTHING, FIELDS).read(place)
    compiled = place.scope.compiler.members(sources, place.names, place.path)
    return tuple(
        PointField(name, compiled[name], each if isinstance(each, str) else "") for name, each in sources.items()
    )


def _item_names(at: Place) -> frozenset[str]:
    return SEEN | at.keys("each")


def _receive(
    at: Place,
    verify: Sequence[Recipe],
    request: RequestMatch | None = None,
    requests: Mapping[str, RequestMatch] | None = None,
    reject_report: Sequence[RejectRule] = (),
    reject_item: Sequence[RejectRule] = (),
    each: Sequence[Level] = (),
    point: Sequence[PointField] = (),
    allow_empty: bool = False,
    on_bad_item: Literal["reject_report", "reject_item"] = "reject_report",
    local_calls: Mapping[str, RequestMatch] | None = None,
    replies: Replies | None = None,
) -> Receive:
    if bool(request) == bool(requests):
        at.error("`receive` has either `request` or `requests`")
    own = [request] if request is not None else list((requests or {}).values())
    local = list((local_calls or {}).values())
    _check_distinct(at, own, local)
    names = [recipe.name for recipe in verify]
    for call in local:
        for key in ("issues", "ends"):
            recipe = getattr(call.local_call, key)
            if recipe is not None and recipe not in names:
                at.error(f"{recipe!r} is not one of the recipes in `receive.verify`", "", "local_calls", call.name, key)
    read = [chain for chain, path in at.scope.compiler.read.items() if path[:2] != ("receive", "replies")]
    return Receive(
        requests=(*own, *local),
        verify=tuple(verify),
        reject_report=tuple(reject_report),
        reject_item=tuple(reject_item),
        each=tuple(each),
        point=tuple(point),
        allow_empty=allow_empty,
        on_bad_item=on_bad_item,
        replies=replies,
        reads=_reads(read, own, at.scope.relay),
        known=_known(read, verify),
    )


def _check_distinct(at: Place, own: Sequence[RequestMatch], local: Sequence[RequestMatch]) -> None:
    """Report two requests that nothing distinguishes."""
    single = "request" in at.entries
    paths = [("request",) if single else ("requests", form.name) for form in own]
    paths += [("local_calls", form.name) for form in local]
    seen: list[RequestMatch] = []
    for path, form in zip(paths, (*own, *local), strict=True):
        call = form.method, re.sub(r"\{\w+\}", "{}", form.path)
        for other in seen:
            is_same = call == (other.method, re.sub(r"\{\w+\}", "{}", other.path))
            if is_same and (form.match == other.match or form.match.is_stricter_than(other.match)):
                what = f"{form.method} {form.path} is the same call as {other.name!r}"
                at.error(what, "the first that fits counts: distinguish them by `match`", *path)
                break
        seen.append(form)


def _reads(read: Sequence[tuple[str, ...]], own: Sequence[RequestMatch], relay: bool) -> frozenset[str]:
    """Return the parts of a request that decide something. Replies do not count; a relay passes the body on."""
    roots = {chain[0] for chain in read}
    kinds: set[str] = {form.body for form in own if form.body != "none"} if relay or "body" in roots else set()
    headers = {f"header.{chain[1].replace('_', '-')}" for chain in read if chain[0] == "headers" and len(chain) > 1}
    return frozenset(kinds | ({"query"} & roots) | headers)


def _known(read: Sequence[tuple[str, ...]], verify: Sequence[Recipe]) -> dict[str, frozenset[str]]:
    """Return the members of `body` and `item` that expressions or recipes read, unless one is read as a whole."""
    carriers = [
        carrier for recipe in verify for carrier in recipe.carriers if carrier.place in ("form", "json", "param")
    ]
    known = {"body": {carrier.name.partition(".")[0] for carrier in carriers}, "item": set[str]()}
    for root, *path in read:
        if root in known and path:
            known[root].add(path[0])
    return {root: frozenset(names) for root, names in known.items() if (root,) not in read}


REJECTIONS = list_of(REJECTION)
RECEIVE = Table(
    "receive",
    _receive,
    Key("request", REQUEST_KEYS, "the call, if there is only one"),
    Key("requests", map_of(REQUEST_KEYS, NAME_PATTERN), "the calls by name"),
    Key("verify", list_of(RECIPE_NAME, at_least=1), "recipes. The carriers that a request contains select the recipe"),
    Key("reject_report", REJECTIONS, "rejects the whole report", lambda at: SEEN),
    Key("reject_item", REJECTIONS, "rejects one item", _item_names),
    Key(
        "each",
        Composed("map of expression", _read_levels, map_of(EXPRESSION, MEMBER_NAME, at_least=1).schema),
        "nested lists, outermost first; each sees those above it; the last is named `item`",
    ),
    Key(
        "point",
        Composed("map of expression", _read_point, map_of(EXPRESSION, FIELDS).schema),
        "fields of a data point. A missing `time_ns` becomes the time of receipt; `attributes` is a map or a "
        "list of [name, value]",
        _item_names,
    ),
    Key("allow_empty", BOOLEAN, "`true`: a report without items is accepted"),
    Key(
        "on_bad_item",
        word(("reject_report", "reject_item")),
        "`reject_report`: one bad item rejects the whole report. `reject_item`: only that item",
    ),
    Key("local_calls", map_of(LOCAL_CALL, NAME_PATTERN), "calls without data points that the gateway answers"),
    Key("replies", REPLIES, "the replies", lambda at: SEEN),
)
