"""The keys of `cases`, and the route that a provider's own cases run through."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.core.http.request import Secret
from gateway.core.moments import NS
from gateway.core.recipe.keyring import Credential, make_keyring
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.session_tokens import make_accounts
from gateway.core.recipe.verify import Verifier
from gateway.core.vendor.provider import CallForm, LocalCall, Provider, Receive, RequestForm, Send
from gateway.core.vendor.route import Route, Source, Target
from gateway.core.vendor.verifiers import logins
from gateway.proof.cases.run import Case
from gateway.specs.binding import types as t
from gateway.specs.binding.place import Place, Scope
from gateway.specs.binding.table import Key, Table, optional
from gateway.specs.yaml.diagnostic import Mark
from gateway.specs.yaml.document import Document
from gateway.specs.yaml.nodes import ListNode

# The credential of a provider's own cases: the first of each that the recipe's `chars` allow.
_HEX = "0123456789abcdef"
_OTHERS = (2 * _HEX, 2 * _HEX + _HEX[:8], 4 * _HEX, "01234567-89ab-cdef-0123-456789abcdef", _HEX[:10])
CASE_KEYS = ("case-key", *_OTHERS)
CASE_SECRETS = ("case-secret", *_OTHERS)


def _case(case: str, now: float, env: Mapping[str, str], **parts: Any) -> tuple[Case, Mapping[str, str]]:
    """Return the case, and the environment that it states."""
    return Case(case, int(now * NS), **parts), env


MAPS = t.Composed("list of map", lambda place: list(t.list_of(t.MAP).read(place)), t.list_of(t.MAP).schema)
LOGIN_CASE = Table(
    "case.login",
    dict,
    optional("sends", t.MAP, "the call, before it is signed"),
    optional("answer", t.MAP, "its answer"),
    optional("token", t.TEXT, "the session that is read from it"),
    stated_only=True,
)
CASE = Table(
    "case",
    _case,
    Key("case", t.TEXT, "the name"),
    optional("now", t.number(at_least=0), "the clock, in epoch seconds; also the time of receipt", 1_700_000_000),
    optional("env", t.map_of(t.TEXT), "variables of a route's case, never for `serve`", {}),
    optional("request", t.TEXT_OR_MAP, "raw text, which is used unchanged, or parts of a request"),
    optional("points", MAPS, "data points; without `request`, they are the points to send; a relay has none"),
    optional("login", LOGIN_CASE, "the call that logs in to the target"),
    optional("declares", MAPS, "calls with the declarations for an upstream without any"),
    optional("sends", MAPS, "calls; `request` in the first selects the provider's request of that name"),
    optional("answer", t.MAP, "the upstream's answer: `status` (200), `headers`, one of `json text`"),
    optional("outcome", t.MAP, "the outcome; without the parts above, it is the outcome to reply to"),
    optional("reply", t.MAP, "the reply; of a relay, the `answer` as it is passed on"),
)
CASES = t.list_of(CASE)


def read_cases(document: Document) -> Iterator[tuple[Case, Mapping[str, str], Mark]]:
    """Yield each case of a document that was read, with the environment that it states, and its place."""
    cases = document.node.entries.get("cases")
    if isinstance(cases, ListNode):
        built = CASES.read(Place(Scope(document), cases, ("cases",)))
        for (case, environ), node in zip(built, cases.items, strict=True):
            yield case, environ, node.mark


def stand_in_route(provider: Provider) -> Route:
    """Return a route from a provider to itself, for its own cases.

    Its credentials are the key `case-key` and the secret `case-secret`, or others where a recipe's `chars` exclude
    these; each needed `given` holds its own name.
    """
    given = {**provider.given, **{name: name for name in provider.needs}}
    rules = tuple(provider.rules.values())
    receive = provider.receive or _DEAF
    source = Source(
        provider=provider,
        receive=receive,
        verifiers=tuple(_check(recipe, logins(receive, recipe)) for recipe in receive.verify),
        given=dict(provider.given),
        rules=rules,
        local_verifiers={
            form.name: tuple(_check(recipe, ()) for recipe in form.local_call.verify)
            if form.local_call.verify
            else None
            for form in receive.requests
            if form.local_call is not None
        },
    )
    send = provider.send or _MUTE
    form = send.requests[0]
    recipe = next(iter(form.sign), None)
    target = Target(
        provider=provider,
        send=send,
        form=form,
        scheme="http",
        host="target.example",
        base_path="",
        recipe=recipe,
        credential=None if recipe is None else _credential(recipe),
        given=given,
        rules=rules,
        login=send.login,
        limits=provider.limits,
    )
    return Route(name=provider.name, source=source, target=target)


def _credential(recipe: Recipe) -> Credential:
    secret = _first(CASE_SECRETS, [recipe.secret.chars] if recipe.secret else [])
    return Credential(Secret(secret), _first(CASE_KEYS, [recipe.key.chars]) if recipe.key else None)


def _first(texts: Sequence[str], patterns: Sequence[str]) -> str:
    """Return the first text that all patterns allow, else the first of all."""
    fitting = (text for text in texts if all(re.fullmatch(pattern, text) for pattern in patterns))
    return next(fitting, texts[0])


def _check(recipe: Recipe, calls: Sequence[LocalCall]) -> Verifier:
    """Return a check with the credential for cases, and the accounts of the calls that issue a session for it."""
    accounts = [_credential(login) for call in calls for login in call.verify]
    lifetime_s = max((call.lifetime_s for call in calls), default=0)
    return Verifier(recipe, make_keyring([_credential(recipe)]), {}, make_accounts(accounts, lifetime_s))


# The other side of a provider that has only one.
_DEAF = Receive((RequestForm("none", "POST", "/", "none", None),), (), (), (), (), (), False, "reject_report", None)
_MUTE = Send(
    {},
    lambda names: None,
    (CallForm("none", "POST", lambda names: "/", None, (), None, None, None, ()),),
    (),
)
