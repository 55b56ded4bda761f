"""The keys of a provider's `send`: how data points become calls, and what the answers mean."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.core.expression import Expression
from gateway.core.expression.compiler import KeyPath, Text
from gateway.core.http.url import split_url
from gateway.core.outcome.outcome import Code
from gateway.core.recipe.model import Recipe
from gateway.core.sending.encode import path_segment
from gateway.core.vendor.provider import CallForm, Declare, Login, OutcomeRule, Poll, RejectedItemsRule, Send
from gateway.specs.binding import types as t
from gateway.specs.binding.place import Place
from gateway.specs.binding.table import Key, Table, optional
from gateway.specs.schema.receive import METHOD, REQUEST
from gateway.specs.schema.rules import FIELDS, POINT

ANSWER = frozenset({"status", "headers", "body", "text", "call_id", "given"})
CALL = frozenset({"given", "now_ns", "call_id"})
_PATH = re.compile(r"/[!\"$->@-~]*")  # printable ASCII, neither `?` nor `#`
_FRAMING = {"host", "content-length", "transfer-encoding", "connection"}
URL = t.template(path_segment)
RECIPES = t.one_or_more(t.RECIPE_NAME)


VALUE = t.Plain(
    "text or integer",
    lambda place: str(place.value if type(place.value) is int else t.NOT_EMPTY.read(place)),
    {"type": ["string", "integer"]},
)
# The members of an element of an answer are not known.
OF_ELEMENT = t.Plain("expression", lambda place: place.scope.compiler.expression(place.plain, None, place.path), {})


def _check_rejected(at: Place, rule: RejectedItemsRule) -> None:
    if (rule.index is None) == (rule.same is None):
        at.error("rejected items are identified by `index` or by `same`")


REJECTED = Table(
    "rejected",
    RejectedItemsRule,
    Key("each", t.EXPRESSION, "list of the rejected items, each an element", lambda at: ANSWER),
    optional("index", OF_ELEMENT, "of an element: the index among the items of the call, from 0"),
    optional("same", OF_ELEMENT, "of an element: members that the item's form contains; null is ignored"),
    optional("message", OF_ELEMENT, "of an element: the message"),
    check=_check_rejected,
)


def _outcome_rule(at: Place, codes: Mapping[Code, Sequence[str]], **keys: Any) -> OutcomeRule:
    if sum(keys[name] is not None for name in ("code", "of", "poll")) > 1:
        at.error("a rule has one of `code`, `of` and `poll`")
    if bool(codes) != (keys["of"] is not None):
        at.error("`of` and `codes` belong together")
    exact: dict[str, Code] = {}
    pairs = [(value, code) for code, values in codes.items() for value in values]
    for value, code in pairs:
        if not value.endswith("*") and exact.setdefault(value, code) is not code:
            at.error(f"{value!r} is also listed under {exact[value]}", "", "codes", code)
    prefixes = sorted(
        ((value[:-1], code) for value, code in pairs if value.endswith("*")), key=lambda each: -len(each[0])
    )
    return OutcomeRule(status=frozenset(keys.pop("status")), exact=exact, prefixes=tuple(prefixes), **keys)


OUTCOME_RULE = Table(
    "outcome",
    _outcome_rule,
    optional("status", t.one_or_more(t.integer()), "condition: the HTTP status", ()),
    optional("when", t.EXPRESSION, "condition"),
    optional("code", t.word(Code), "the code of the outcome"),
    optional("of", t.EXPRESSION, "a value of the answer that `codes` maps to a code"),
    optional("codes", t.map_of(t.list_of(VALUE), Code), 'values of `of` by code, each a value or `"prefix*"`', {}),
    optional("poll", t.EXPRESSION, "the path, with query, that gives the result of an unfinished call"),
    optional("message", t.EXPRESSION, "the message of the outcome"),
    optional("rejected", REJECTED, "the data points that the answer names as rejected"),
    optional(
        "on_failure", t.word(("retry", "dead_letter", "pause")), "what follows a failure, instead of its code's default"
    ),
)
OUTCOME_RULES = t.list_of(OUTCOME_RULE)


def _call_names(at: Place) -> frozenset[str]:
    """Return what the request of `send` sees."""
    return REQUEST | CALL if at.scope.relay else _group_names(at) | CALL | {"items", "points"}


def _group_names(at: Place) -> frozenset[str]:
    return frozenset({"given", "now_ns"}) | at.keys("group_by")


def _call(at: Place, sign: Sequence[Recipe] | None, **keys: Any) -> CallForm:
    if sum(keys[name] is not None for name in ("json", "form", "text")) > 1:
        at.error("a request has one of `json`, `form` and `text`")
    written = at.at("path").value
    if not _PATH.fullmatch(written):
        hint = "begin it with '/', percent-encode blanks and non-ASCII characters, and put its query under `query`"
        at.error(f"{written!r} is not a valid path", hint, "path")
    for header, _ in keys["headers"]:
        if header.lower() in _FRAMING:
            at.error(f"the gateway sets {header!r}", "leave it out", "headers", header, at_key=True)
    # An expression may also read all names by `@`, and quote a name with escapes.
    reads_points = re.search(r"points|[@\\]", repr(at.plain)) is not None
    return CallForm(
        name=at.name, sign=at.scope.sign if sign is None else tuple(sign), reads_points=reads_points, **keys
    )


CALL_KEYS = Table(
    "call",
    _call,
    Key("method", METHOD, "the method"),
    Key("path", URL, "the path, in which each value is one segment"),
    optional("query", t.EXPRESSION, "map of query parameters"),
    optional("headers", t.HEADERS, "header fields", ()),
    optional("json", t.EXPRESSION, "the body as JSON"),
    optional("form", t.EXPRESSION, "map of the fields of a form"),
    optional("text", t.TEMPLATE, "the body as text"),
    optional("sign", RECIPES, "recipes that may sign this call, instead of those of `send`"),
)


def _check_login(at: Place, login: Login) -> None:
    written = "" if login.url is None else at.at("url").value
    if written and "{" not in written:
        try:
            split_url(written)
        except ValueError as error:
            at.error(str(error), "", "url")
    if login.for_recipe.key:
        at.error(f"{login.for_recipe.name} needs a key, which a session cannot provide", "", "for")


LOGIN = Table(
    "login",
    Login,
    Key("for", t.RECIPE_NAME, "the recipe whose secret is the session", to="for_recipe"),
    optional("url", URL, "where to log in; default: the target's URL", sees=lambda at: {"given"}),
    Key("request", CALL_KEYS, "the call that logs in", lambda at: CALL, to="form"),
    Key("sign", t.RECIPE_NAME, "the recipe that signs it"),
    Key("token", t.EXPRESSION, "the session, from `body` and `headers` of the answer", lambda at: {"body", "headers"}),
    Key("lifetime_s", t.POSITIVE, "the lifetime of the session; it is renewed after 80 % of this time"),
    check=_check_login,
)


def _check_declare(at: Place, declare: Declare) -> None:
    if "sign" in at.at("request").entries:
        at.error("a declaration is signed like the report", "leave it out", "request", "sign")
    for index, rule in enumerate(declare.outcome):
        if rule.rejected is not None:
            at.error("a declaration is accepted or rejected as a whole", "leave it out", "outcome", index, "rejected")


def _all_of(expressions: Sequence[Expression]) -> Expression:
    return lambda names: [each(names) for each in expressions]


UNIQUE_BY = t.list_of(t.EXPRESSION, at_least=1).then(_all_of)
DECLARE = Table(
    "declare",
    Declare,
    Key("unique_by", UNIQUE_BY, "each combination of their values is declared once", lambda at: POINT | {"given"}),
    Key("item", t.EXPRESSION, "one declaration, from the first data point that needs it", lambda at: POINT | at.names),
    Key("request", CALL_KEYS, "the call with all new declarations", lambda at: at.names | CALL | {"items"}),
    optional(
        "outcome", OUTCOME_RULES, "rules, without `rejected`; `poll` is that of `send`", (), sees=lambda at: ANSWER
    ),
    check=_check_declare,
)


POLL_SIGNER = t.Plain(
    "name of a recipe, or `none`",
    lambda place: "none" if place.value == "none" else t.RECIPE_NAME.read(place),
    {"type": "string"},
)
POLL = Table(
    "poll",
    lambda every_s, sign: Poll(every_s, sign or "own"),
    Key("every_s", t.number(at_least=0.05), "the interval, at least 0.05"),
    optional("sign", POLL_SIGNER, "a recipe, or `none`; default: as the call itself"),
)


def _read_sign(place: Place) -> None:
    """Read what signs every call that does not state `sign` itself."""
    place.scope.sign = tuple(RECIPES.read(place))


def _read_fields(place: Place) -> dict[str, Expression]:
    fields = t.list_of(t.word(FIELDS)).read(place)
    return place.scope.compiler.members({field: field for field in fields}, place.names, place.path)


GROUP_BY = t.list_or(
    "list of fields, or map of expression",
    t.Plain("list of fields", _read_fields, t.list_of(t.word(FIELDS)).json),
    t.map_of(t.EXPRESSION, t.MEMBER_NAME),
)


def _send(
    at: Place, request: CallForm | None, requests: Mapping[str, CallForm], sign: None, url: Text | None, **keys: Any
) -> tuple[Send, Text | None]:
    if bool(request) == bool(requests):
        at.error("`send` has either `request` or `requests`")
    send = Send(requests=tuple([request] if request is not None else requests.values()), **keys)
    polls: list[KeyPath] = [("outcome", index) for index, rule in enumerate(send.outcome) if rule.poll]
    declared = send.declare.outcome if send.declare is not None else ()
    polls += [("declare", "outcome", index) for index, rule in enumerate(declared) if rule.poll]
    if send.poll is not None and not polls:
        at.error("no rule of `outcome` has a `poll`: there is nothing to poll", "leave it out", "poll")
    for path in polls if send.poll is None else ():
        at.error("nothing says how often to poll", "add send.poll: {every_s: 1}", *path, "poll")
    return send, url


SEND = Table(
    "send",
    _send,
    optional("url", URL, "where calls go, if it differs from the provider's `url`", sees=lambda at: {"given"}),
    optional(
        "group_by", GROUP_BY, "data points with equal values are sent together", {}, sees=lambda at: POINT | {"given"}
    ),
    optional(
        "item", t.EXPRESSION, "the form of one data point", lambda names: None, sees=lambda at: POINT | _group_names(at)
    ),
    optional("sign", t.Plain(RECIPES.words, _read_sign, RECIPES.json), "recipes that may sign"),
    optional("request", CALL_KEYS, "the call, if there is only one", sees=_call_names),
    optional("requests", t.map_of(CALL_KEYS, t.NAME_PATTERN), "the calls by name", {}, sees=_call_names),
    optional("login", LOGIN, "for calls that carry a session"),
    optional("poll", POLL, "how to request the result of an unfinished call"),
    optional("declare", DECLARE, "what is declared before the first data point of a kind", sees=_group_names),
    optional("outcome", OUTCOME_RULES, "rules; the first whose conditions hold is used", (), sees=lambda at: ANSWER),
)
