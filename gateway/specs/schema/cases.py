"""The keys of `cases` and `vectors`, and the route that a provider's own cases run through."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.core.http.received import ReceivedRequest, guess_body_kind
from gateway.core.http.request import PublicUrl, Secret
from gateway.core.http.text import parse_request
from gateway.core.moments import NS
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.slots import Slot
from gateway.core.vendor.provider import CallForm, Provider, Receive, Send
from gateway.core.vendor.route import Route, Source
from gateway.core.vendor.verifiers import local_verifiers, make_verifiers
from gateway.proof.cases.run import Case
from gateway.proof.probe import own_targets
from gateway.proof.vectors import Vector
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


MAPS = t.list_of(t.MAP).then(list)
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


def _vector(
    at: Place, request: str, url: PublicUrl | None, key: str | None, secret: str, now: float, **keys: Any
) -> Vector:
    try:
        parsed, _ = parse_request(request.encode())
    except ValueError as error:
        raise at.invalid(str(error), "", "request") from None
    parsed = parsed if url is None else replace(parsed, scheme=url.scheme)
    message = ReceivedRequest(parsed, guess_body_kind(parsed))
    return Vector(message=message, credential=Credential(Secret(secret), key), now_ns=int(now * NS), **keys)


VECTOR = Table(
    "vector",
    _vector,
    Key("vector", t.TEXT, "the name", to="name"),
    Key("source", t.TEXT, "where the vector comes from"),
    Key("now", t.number(at_least=0), "the clock, in epoch seconds"),
    optional("key", t.TEXT, "the key id of a credential that gives access to nothing"),
    Key("secret", t.TEXT, "its secret. A public key is only verified"),
    optional("given", t.map_of(t.TEXT), "values of slots of kind given", {}),
    optional("url", t.BASE_URL, "`http[s]://HOST`, if the scheme signs the whole URL"),
    Key("request", t.TEXT, "the signed request as text"),
    optional("string_to_sign", t.TEXT, "the signed text, if the source prints it", ""),
)


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
    receive, send = provider.receive or _DEAF, provider.send or _MUTE
    recipes = {recipe.name: recipe for recipe in (*receive.verify, *receive.local_recipes)}
    credentials = [_credential(recipe) for recipe in recipes.values()]
    source = Source(
        provider=provider,
        receive=receive,
        verifiers=make_verifiers(receive, receive.verify, credentials, {}),
        given=provider.given,
        rules=tuple(provider.rules.values()),
        local_verifiers=local_verifiers(receive, credentials, {}),
    )
    (target, *_) = own_targets(replace(provider, send=send))
    target = replace(
        target,
        provider=provider,
        url=PublicUrl("http", "target.example"),
        credential=None if target.recipe is None else replace(_credential(target.recipe), recipe=None),
        given={**provider.given, **{name: name for name in provider.needs}},
        login=send.login,
        limits=provider.limits,
    )
    return Route(name=provider.name, source=source, target=target)


def _credential(recipe: Recipe) -> Credential:
    """Return the first key and secret that the recipe allows, else the first of all."""

    def first(texts: Sequence[str], slot: Slot | None) -> str:
        return next((text for text in texts if slot is None or re.fullmatch(slot.chars, text)), texts[0])

    key = first(CASE_KEYS, recipe.key) if recipe.key else None
    return Credential(Secret(first(CASE_SECRETS, recipe.secret)), key, recipe.name)


# The other side of a provider that has only one.
_DEAF = Receive((), (), (), (), (), (), False, "reject_report", None)
_MUTE = Send({}, lambda names: None, (CallForm("none", "POST", lambda names: "/", None, (), None, None, None, ()),), ())
