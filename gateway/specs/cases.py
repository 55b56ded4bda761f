"""From the `cases` of a document to cases, and the route that a provider's own cases run through."""

from collections.abc import Iterator

from gateway.core.cases.run import Case
from gateway.core.issued import make_accounts
from gateway.core.model import Secret
from gateway.core.provider import CallForm, Provider, Receive, RequestMatch, Send
from gateway.core.recipe.keyring import Credential, make_keyring
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.verify import Check
from gateway.core.route import Route, Source, Target
from gateway.specs.document import Document
from gateway.specs.models import CaseSpec
from gateway.specs.nodes import ListNode, to_python

CASE_KEY = "case-key"
CASE_SECRET = Secret("case-secret")


def read_cases(document: Document) -> Iterator[tuple[Case, dict[str, str]]]:
    """Yield each case of a document that was read, with the environment that it states."""
    cases = document.node.entries.get("cases")
    for node in cases.items if isinstance(cases, ListNode) else ():
        spec = CaseSpec.model_validate(to_python(node))
        case = Case(
            spec.case,
            int(spec.now * 1_000_000_000),
            spec.request,
            spec.points,
            spec.declares,
            spec.sends,
            spec.answer,
            spec.outcome,
            spec.reply,
        )
        yield case, spec.env


def stand_in_route(provider: Provider) -> Route:
    """Return a route from a provider to itself, for its own cases.

    Its credentials are the key `case-key` and the secret `case-secret`; each needed `given` holds its own name.
    """
    given = {**provider.given, **{name: name for name in provider.needs}}
    rules = tuple(provider.rules.values())
    receive = provider.receive or _DEAF
    source = Source(
        provider=provider,
        receive=receive,
        checks=tuple(_check(recipe, _log_in(receive, recipe)) for recipe in receive.verify),
        given=dict(provider.given),
        rules=rules,
        also_checks={
            form.name: tuple(_check(recipe, False) for recipe in form.also.verify) if form.also.verify else None
            for form in receive.requests
            if form.also is not None
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
        limits=provider.limits,
    )
    return Route(name=provider.name, source=source, target=target)


def _credential(recipe: Recipe) -> Credential:
    return Credential(CASE_SECRET, CASE_KEY if recipe.needs_key else None)


def _check(recipe: Recipe, has_accounts: bool) -> Check:
    accounts = make_accounts([Credential(CASE_SECRET, CASE_KEY)] if has_accounts else [])
    return Check(recipe, make_keyring([_credential(recipe)]), {}, accounts)


def _log_in(receive: Receive, recipe: Recipe) -> bool:
    return any(form.also is not None and form.also.issues == recipe.name for form in receive.requests)


# The other side of a provider that has only one.
_DEAF = Receive((RequestMatch("none", "POST", "/", "none", None),), (), (), (), (), (), False, "whole", None)
_MUTE = Send(
    {},
    lambda names: None,
    (CallForm("none", "POST", lambda names: "/", None, (), None, None, None, ()),),
    (),
)
