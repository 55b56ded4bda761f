"""From the `cases` of a document to cases, and the route that a provider's own cases run through."""

import re
from collections.abc import Iterator, Sequence

from gateway.core.http.request import Secret
from gateway.core.recipe.keyring import Credential, make_keyring
from gateway.core.recipe.model import KeySlot, Recipe, SecretSlot
from gateway.core.recipe.session_tokens import make_accounts
from gateway.core.recipe.verify import Verifier
from gateway.core.vendor.provider import CallForm, LocalCall, Provider, Receive, RequestMatch, Send
from gateway.core.vendor.route import Route, Source, Target
from gateway.core.vendor.verifiers import logins
from gateway.proof.cases.run import Case
from gateway.specs.schema.models import CaseSpec
from gateway.specs.yaml.diagnostic import Mark
from gateway.specs.yaml.document import Document
from gateway.specs.yaml.nodes import ListNode, to_python

# The credential of a provider's own cases: the first of each that the recipe's `chars` allow.
_HEX = "0123456789abcdef"
_OTHERS = (2 * _HEX, 2 * _HEX + _HEX[:8], 4 * _HEX, "01234567-89ab-cdef-0123-456789abcdef", _HEX[:10])
CASE_KEYS = ("case-key", *_OTHERS)
CASE_SECRETS = ("case-secret", *_OTHERS)


def read_cases(document: Document) -> Iterator[tuple[Case, dict[str, str], Mark]]:
    """Yield each case of a document that was read, with the environment that it states, and its place."""
    cases = document.node.entries.get("cases")
    for node in cases.items if isinstance(cases, ListNode) else ():
        spec = CaseSpec.model_validate(to_python(node))
        case = Case(
            spec.case,
            int(spec.now * 1_000_000_000),
            spec.request,
            spec.points,
            None if spec.login is None else spec.login.model_dump(exclude_unset=True),
            spec.declares,
            spec.sends,
            spec.answer,
            spec.outcome,
            spec.reply,
        )
        yield case, spec.env, node.mark


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
        checks=tuple(_check(recipe, logins(receive, recipe)) for recipe in receive.verify),
        given=dict(provider.given),
        rules=rules,
        local_checks={
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
    keys = [slot.chars for slot in recipe.slots.values() if isinstance(slot, KeySlot)]
    secrets = [slot.chars for slot in recipe.slots.values() if isinstance(slot, SecretSlot)]
    return Credential(Secret(_first(CASE_SECRETS, secrets)), _first(CASE_KEYS, keys) if recipe.needs_key else None)


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
_DEAF = Receive((RequestMatch("none", "POST", "/", "none", None),), (), (), (), (), (), False, "reject_report", None)
_MUTE = Send(
    {},
    lambda names: None,
    (CallForm("none", "POST", lambda names: "/", None, (), None, None, None, ()),),
    (),
)
