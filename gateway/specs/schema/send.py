"""From the YAML of `send` to the role of the vendor's reporter."""

import re
from collections.abc import Collection

from gateway.core.expression.compiler import KeyPath
from gateway.core.http.url import split_url
from gateway.core.sending.build import path_segment
from gateway.core.vendor.provider import CallForm, Declare, Login, Poll, Send
from gateway.specs.schema.models import CallSpec, DeclareSpec, LoginSpec, OutcomeRuleSpec, SendSpec
from gateway.specs.schema.outcome import build_outcome
from gateway.specs.schema.parts import POINT, REQUEST, Parts

_PATH = re.compile(r"/[!\"$->@-~]*")  # printable ASCII, neither `?` nor `#`


_FRAMING = {"host", "content-length", "transfer-encoding", "connection"}
_CALL = frozenset({"given", "now_ns", "call_id"})  # what every call sees


def build_send(parts: Parts, spec: SendSpec, *, relay: bool) -> Send:
    at: KeyPath = ("send",)
    named = {name: name for name in spec.group_by} if isinstance(spec.group_by, list) else spec.group_by
    group_by = {
        name: parts.compiler.expression(source, POINT | {"given"}, (*at, "group_by", name))
        for name, source in named.items()
    }
    names = {"given", "now_ns", *group_by}
    seen = {*REQUEST, *_CALL} if relay else {*names, *_CALL, "items", "points"}
    forms = {**spec.requests, "request": spec.request} if spec.request else dict(spec.requests)
    if bool(spec.request) == bool(spec.requests):
        parts.document.error(at, "`send` has either `request` or `requests`")
    return Send(
        group_by,
        parts.compiler.expression(spec.item, POINT | names, (*at, "item")),
        tuple(
            _call(parts, name, form, spec, seen, (*at, "request") if form is spec.request else (*at, "requests", name))
            for name, form in forms.items()
            if form is not None
        ),
        build_outcome(parts, spec.outcome, (*at, "outcome")),
        None if spec.login is None else _login(parts, spec.login, spec, (*at, "login")),
        _poll(parts, spec, (*at, "poll")),
        None if spec.declare is None else _declare(parts, spec.declare, spec, names, (*at, "declare")),
    )


def _poll(parts: Parts, spec: SendSpec, at: KeyPath) -> Poll | None:
    lists: dict[KeyPath, list[OutcomeRuleSpec]] = {("send", "outcome"): spec.outcome}
    if spec.declare is not None:
        lists["send", "declare", "outcome"] = spec.declare.outcome
    rules: list[KeyPath] = [
        (*place, index, "poll")
        for place, outcome in lists.items()
        for index, rule in enumerate(outcome)
        if rule.poll is not None
    ]
    if spec.poll is None:
        for rule in rules:
            parts.document.error(rule, "nothing says how to poll", "say how often: send.poll: {every_s: 1}")
        return None
    if not rules:
        parts.document.error(at, "no rule of `outcome` has a `poll`: nothing says what to poll", "leave it out")
    if spec.poll.sign in (None, "none"):
        return Poll(spec.poll.every_s, "own" if spec.poll.sign is None else "none")
    recipes = parts.named_recipes([spec.poll.sign], (*at, "sign"))
    return Poll(spec.poll.every_s, recipes[0]) if recipes else None


def _declare(parts: Parts, spec: DeclareSpec, send: SendSpec, names: Collection[str], at: KeyPath) -> Declare:
    if spec.request.sign is not None:
        parts.document.error((*at, "request", "sign"), "a declaration is signed as the report is", "leave it out")
    for index, rule in enumerate(spec.outcome):
        if rule.rejected is not None:
            parts.document.error((*at, "outcome", index, "rejected"), "a declaration is taken or refused as a whole")
    return Declare(
        parts.compiler.expression(spec.unique_by, POINT | {"given"}, (*at, "unique_by")),
        parts.compiler.expression(spec.item, POINT | {*names}, (*at, "item")),
        _call(parts, "declare", spec.request, send, {*names, *_CALL, "items"}, (*at, "request")),
        build_outcome(parts, spec.outcome, (*at, "outcome")),
    )


def _login(parts: Parts, spec: LoginSpec, send: SendSpec, at: KeyPath) -> Login | None:
    for_recipe = parts.named_recipes([spec.for_], (*at, "for"))
    sign = parts.named_recipes([spec.sign], (*at, "sign"))
    form = _call(parts, "login", spec.request, send, _CALL, (*at, "request"))
    url = None if spec.url is None else parts.compiler.text(spec.url, {"given"}, (*at, "url"), escape=path_segment)
    if spec.url is not None and "{" not in spec.url:
        _check_url(parts, spec.url, (*at, "url"))
    token = parts.compiler.expression(spec.token, {"body", "headers"}, (*at, "token"))
    if for_recipe and for_recipe[0].needs_key:
        parts.document.error((*at, "for"), f"{spec.for_} needs a key: a session cannot fill it")
    return Login(for_recipe[0], url, form, sign[0], token, spec.lifetime_s) if for_recipe and sign else None


def _check_url(parts: Parts, url: str, at: KeyPath) -> None:
    try:
        split_url(url)
    except ValueError as error:
        parts.document.error(at, str(error))


def _call(parts: Parts, name: str, spec: CallSpec, send: SendSpec, names: Collection[str], at: KeyPath) -> CallForm:
    bodies = [body for body in (spec.json_, spec.form, spec.text) if body is not None]
    if len(bodies) > 1:
        parts.document.error(at, "a request has one of `json`, `form` and `text`")
    if not _PATH.fullmatch(spec.path):
        hint = "begin it with '/', percent-encode what is no ASCII or a blank, and put its query under `query`"
        parts.document.error((*at, "path"), f"{spec.path!r} cannot be the path of a request", hint)
    for header in spec.headers:
        if header.lower() in _FRAMING:
            parts.document.error((*at, "headers", header), f"{header!r} is written by the gateway itself", at_key=True)
    sign_at, sign = ((*at, "sign"), spec.sign) if spec.sign is not None else (("send", "sign"), send.sign)
    return CallForm(
        name,
        spec.method,
        parts.compiler.text(spec.path, names, (*at, "path"), escape=path_segment),
        parts.optional(spec.query, names, (*at, "query")),
        parts.headers(spec.headers, names, (*at, "headers")),
        parts.optional(spec.json_, names, (*at, "json")),
        parts.optional(spec.form, names, (*at, "form")),
        None if spec.text is None else parts.compiler.text(spec.text, names, (*at, "text")),
        parts.named_recipes(sign, sign_at),
    )
