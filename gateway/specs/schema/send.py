"""The keys of a provider's `send`: how data points become calls, and what the answers mean."""

import re
from collections.abc import Mapping, Sequence

from gateway.core.expression import Expression
from gateway.core.expression.compiler import KeyPath, Text
from gateway.core.http.url import split_url
from gateway.core.outcome.outcome import Code, OnFailure
from gateway.core.recipe.model import Recipe
from gateway.core.sending.build import path_segment
from gateway.core.vendor.provider import CallForm, Declare, Login, OutcomeRule, Poll, RejectedItemsRule, Send
from gateway.specs.binding.place import Place
from gateway.specs.binding.table import Key, Table
from gateway.specs.binding.types import (
    CONDITION,
    EXPRESSION,
    HEADERS,
    MEMBER_NAME,
    NAME_PATTERN,
    NOT_EMPTY,
    POSITIVE,
    RECIPE_NAME,
    Composed,
    Plain,
    integer,
    list_of,
    list_or,
    map_of,
    number,
    one_or_more,
    template,
    word,
)
from gateway.specs.schema.receive import METHOD, REQUEST
from gateway.specs.schema.rules import FIELDS, POINT

ANSWER = frozenset({"status", "headers", "body", "text", "call_id", "given"})
CALL = frozenset({"given", "now_ns", "call_id"})
_PATH = re.compile(r"/[!\"$->@-~]*")  # printable ASCII, neither `?` nor `#`
_FRAMING = {"host", "content-length", "transfer-encoding", "connection"}
URL = template(path_segment)
RECIPES = one_or_more(RECIPE_NAME)


def _read_word(place: Place) -> str:
    """Read a value of an answer: an integer, or text that is not empty."""
    return str(place.value) if type(place.value) is int else str(NOT_EMPTY.read(place))


def _read_sign(place: Place) -> tuple[Recipe, ...]:
    """Read what signs every call that does not state `sign` itself."""
    place.scope.sign = tuple(RECIPES.read(place))
    return place.scope.sign


_WORD = Plain("text or integer", _read_word, {"type": ["string", "integer"]})


def _rejected(
    at: Place,
    each: Expression,
    index: Expression | None = None,
    same: Expression | None = None,
    message: Expression | None = None,
) -> RejectedItemsRule:
    if (index is None) == (same is None):
        at.error("rejected items are identified by `index` or by `same`")
    return RejectedItemsRule(each, index, same, message)


def _read_of_element(place: Place) -> Expression:
    """Compile an expression over an element of an answer, whose members are not known."""
    return place.scope.compiler.expression(place.plain, None, place.path)


OF_ELEMENT = Plain("expression", _read_of_element, {})
REJECTED = Table(
    "rejected",
    _rejected,
    Key("each", EXPRESSION, "list of the rejected items, each an element", lambda at: ANSWER),
    Key("index", OF_ELEMENT, "of an element: the index among the items of the call, from 0"),
    Key("same", OF_ELEMENT, "of an element: members that the item's form contains; null is ignored"),
    Key("message", OF_ELEMENT, "of an element: the message"),
)


def _outcome_rule(
    at: Place,
    status: Sequence[int] = (),
    when: Expression | None = None,
    code: Code | None = None,
    of: Expression | None = None,
    codes: Mapping[Code, Sequence[str]] | None = None,
    poll: Expression | None = None,
    message: Expression | None = None,
    rejected: RejectedItemsRule | None = None,
    on_failure: OnFailure | None = None,
) -> OutcomeRule:
    if sum(each is not None for each in (code, of, poll)) > 1:
        at.error("a rule has one of `code`, `of` and `poll`")
    if bool(codes) != (of is not None):
        at.error("`of` and `codes` belong together")
    exact: dict[str, Code] = {}
    prefixes: list[tuple[str, Code]] = []
    for each, words in (codes or {}).items():
        for value in words:
            if value.endswith("*"):
                prefixes.append((value[:-1], each))
            elif exact.setdefault(value, each) is not each:
                at.error(f"{value!r} is also listed under {exact[value]}", "", "codes", each)
    prefixes.sort(key=lambda prefix: -len(prefix[0]))
    return OutcomeRule(frozenset(status), when, code, of, exact, tuple(prefixes), poll, message, rejected, on_failure)


OUTCOME_RULE = Table(
    "outcome",
    _outcome_rule,
    Key("status", one_or_more(integer()), "condition: the HTTP status"),
    Key("when", CONDITION, "condition"),
    Key("code", word(Code), "the code of the outcome"),
    Key("of", EXPRESSION, "a value of the answer that `codes` maps to a code"),
    Key("codes", map_of(list_of(_WORD), Code), 'values of `of` by code, each a value or `"prefix*"`'),
    Key("poll", EXPRESSION, "the path, with query, that gives the result of an unfinished call"),
    Key("message", EXPRESSION, "the message of the outcome"),
    Key("rejected", REJECTED, "the data points that the answer names as rejected"),
    Key(
        "on_failure",
        word(("retry", "dead_letter", "pause")),
        "what happens after a failure, instead of the default for its code: `retry`, `dead_letter` (in queued"
        " mode), or `pause` (do not call the target for a while)",
    ),
)
OUTCOME_RULES = list_of(OUTCOME_RULE)


def _call_names(at: Place) -> frozenset[str]:
    """Return what the request of `send` sees."""
    return REQUEST | CALL if at.scope.relay else _group_names(at) | CALL | {"items", "points"}


def _group_names(at: Place) -> frozenset[str]:
    return frozenset({"given", "now_ns"}) | at.keys("group_by")


def _call(
    at: Place,
    name: str,
    method: str,
    path: Text,
    query: Expression | None = None,
    headers: tuple[tuple[str, Text], ...] = (),
    json: Expression | None = None,
    form: Expression | None = None,
    text: Text | None = None,
    sign: Sequence[Recipe] | None = None,
) -> CallForm:
    if sum(body is not None for body in (json, form, text)) > 1:
        at.error("a request has one of `json`, `form` and `text`")
    written = at.at("path").value
    if not _PATH.fullmatch(written):
        hint = "begin it with '/', percent-encode blanks and non-ASCII characters, and put its query under `query`"
        at.error(f"{written!r} is not a valid path", hint, "path")
    for header, _ in headers:
        if header.lower() in _FRAMING:
            at.error(f"the gateway sets {header!r}", "leave it out", "headers", header, at_key=True)
    recipes = at.scope.sign if sign is None else tuple(sign)
    return CallForm(name, method, path, query, headers, json, form, text, recipes)


CALL_KEYS = Table(
    "call",
    _call,
    Key("method", METHOD, "the method"),
    Key("path", template(path_segment), "the path, in which each value is one segment"),
    Key("query", EXPRESSION, "map of query parameters"),
    Key("headers", HEADERS, "header fields"),
    Key("json", EXPRESSION, "the body as JSON"),
    Key("form", EXPRESSION, "map of the fields of a form"),
    Key("text", template(), "the body as text"),
    Key("sign", RECIPES, "recipes that may sign this call, instead of those of `send`"),
)


def _login(
    at: Place,
    for_: Recipe,
    request: CallForm,
    sign: Recipe,
    token: Expression,
    lifetime_s: float,
    url: Text | None = None,
) -> Login:
    written = "" if url is None else at.at("url").value
    if written and "{" not in written:
        try:
            split_url(written)
        except ValueError as error:
            at.error(str(error), "", "url")
    if for_.needs_key:
        at.error(f"{for_.name} needs a key, which a session cannot provide", "", "for")
    return Login(for_, url, request, sign, token, lifetime_s)


LOGIN = Table(
    "login",
    _login,
    Key("for", RECIPE_NAME, "the recipe whose secret is the session"),
    Key("url", URL, "where to log in; default: the target's URL", lambda at: {"given"}),
    Key("request", CALL_KEYS, "the call that logs in", lambda at: CALL),
    Key("sign", RECIPE_NAME, "the recipe that signs it"),
    Key("token", EXPRESSION, "the session, from `body` and `headers` of the answer", lambda at: {"body", "headers"}),
    Key("lifetime_s", POSITIVE, "the lifetime of the session; it is renewed after 80 % of this time"),
)


def _declare(
    at: Place, unique_by: Sequence[Expression], item: Expression, request: CallForm, outcome: Sequence[OutcomeRule] = ()
) -> Declare:
    if "sign" in at.at("request").entries:
        at.error("a declaration is signed like the report", "leave it out", "request", "sign")
    for index, rule in enumerate(outcome):
        if rule.rejected is not None:
            at.error("a declaration is accepted or rejected as a whole", "leave it out", "outcome", index, "rejected")
    return Declare(lambda names: [each(names) for each in unique_by], item, request, tuple(outcome))


DECLARE = Table(
    "declare",
    _declare,
    Key(
        "unique_by",
        list_of(EXPRESSION, at_least=1),
        "each combination of their values is declared once",
        lambda at: POINT | {"given"},
    ),
    Key("item", EXPRESSION, "one declaration, from the first data point that needs it", lambda at: POINT | at.names),
    Key(
        "request",
        CALL_KEYS,
        "the call that carries all new declarations of a call of `send`; it is signed like that call",
        lambda at: at.names | CALL | {"items"},
    ),
    Key(
        "outcome",
        OUTCOME_RULES,
        "rules for the answer, without `rejected`; `poll` is that of `send`",
        lambda at: ANSWER,
    ),
)


def _read_poll_signer(place: Place) -> str | Recipe:
    return "none" if place.value == "none" else RECIPE_NAME.read(place)


POLL = Table(
    "poll",
    lambda every_s, sign=None: Poll(every_s, sign or "own"),
    Key("every_s", number(at_least=0.05), "the interval, at least 0.05"),
    Key(
        "sign",
        Plain("name of a recipe, or `none`", _read_poll_signer, {"type": "string"}),
        "a recipe, or `none`; default: as the call itself",
    ),
)


def _read_group_list(place: Place) -> dict[str, Expression]:
    fields = list_of(word(FIELDS)).read(place)
    return {field: place.scope.compiler.expression(field, place.names, (*place.path, field)) for field in fields}


_GROUP_LIST = Composed("list of fields", _read_group_list, list_of(word(FIELDS)).schema)


def _send(
    at: Place,
    item: Expression = lambda names: None,
    request: CallForm | None = None,
    requests: Mapping[str, CallForm] | None = None,
    sign: Sequence[Recipe] = (),
    url: Text | None = None,
    group_by: Mapping[str, Expression] | None = None,
    login: Login | None = None,
    poll: Poll | None = None,
    declare: Declare | None = None,
    outcome: Sequence[OutcomeRule] = (),
) -> tuple[Send, Text | None]:
    if bool(request) == bool(requests):
        at.error("`send` has either `request` or `requests`")
    rules: list[tuple[KeyPath, OutcomeRule]] = [(("outcome", index), rule) for index, rule in enumerate(outcome)]
    if declare is not None:
        rules += [(("declare", "outcome", index), rule) for index, rule in enumerate(declare.outcome)]
    polls = [path for path, rule in rules if rule.poll is not None]
    if poll is None:
        for path in polls:
            at.error("nothing says how often to poll", "add send.poll: {every_s: 1}", *path, "poll")
    elif not polls:
        at.error("no rule of `outcome` has a `poll`: there is nothing to poll", "leave it out", "poll")
    forms = [request] if request is not None else list((requests or {}).values())
    return Send(group_by or {}, item, tuple(forms), tuple(outcome), login, poll, declare), url


SEND = Table(
    "send",
    _send,
    Key("url", URL, "where calls go, if it differs from the provider's `url`", lambda at: {"given"}),
    Key(
        "group_by",
        list_or("list of fields, or map of expression", _GROUP_LIST, map_of(EXPRESSION, MEMBER_NAME)),
        "data points with equal values are sent together",
        lambda at: POINT | {"given"},
    ),
    Key("item", EXPRESSION, "the form of one data point", lambda at: POINT | _group_names(at)),
    Key("sign", Composed(RECIPES.words, _read_sign, RECIPES.schema), "recipes that may sign"),
    Key("request", CALL_KEYS, "the call, if there is only one", _call_names),
    Key("requests", map_of(CALL_KEYS, NAME_PATTERN), "the calls by name, of which a route selects one", _call_names),
    Key("login", LOGIN, "for calls that carry a session"),
    Key("poll", POLL, "how to request the result of an unfinished call"),
    Key("declare", DECLARE, "what is declared before the first data point of a kind is sent", _group_names),
    Key("outcome", OUTCOME_RULES, "rules for the answer; the first whose conditions hold is used", lambda at: ANSWER),
)
