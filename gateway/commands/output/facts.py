"""What a person on call wants to know of a provider or a recipe, as plain data.

A fact is words, a list of them, or words by name.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeAlias

from gateway.commands.output.losses import holding_words
from gateway.core.expression import EvaluationError
from gateway.core.expression.compiler import Text
from gateway.core.points.rules import Rule
from gateway.core.recipe.model import Carrier, GivenSlot, Recipe, TimeSlot
from gateway.core.vendor.provider import CallForm, Login, Provider, Receive, RequestMatch, Send
from gateway.proof.capabilities import probe_capabilities
from gateway.proof.probe import ProbeFailed, own_targets

Fact: TypeAlias = str | list[str] | dict[str, str]
Facts: TypeAlias = dict[str, Fact]


def facts_of_provider(provider: Provider) -> Facts:
    """Return what the provider is; what it has not is left out."""
    facts: Facts = {
        "provider": provider.name,
        "title": provider.title,
        "roles": [name for name in ("receive", "send") if getattr(provider, name) is not None],
        "needs": list(provider.needs),
        "given": given_words(provider.given),
        "url": filled_in(provider.url, provider) if provider.url else "",
    }
    facts |= _receive_facts(provider.receive) if provider.receive else {}
    facts |= _send_facts(provider, provider.send) if provider.send else {}
    facts["limits"] = _stated(provider.limits)
    facts["rules"] = rule_facts(provider.rules.values())
    return present(facts)


def _receive_facts(receive: Receive) -> Facts:
    reports = [form for form in receive.requests if form.local_call is None]
    return {
        "receives": {form.name: received(form) for form in reports},
        "answers": {form.name: received(form) for form in receive.requests if form.local_call is not None},
        "verified_by": [recipe.name for recipe in receive.verify],
        "a_bad_item": "refuses the whole report" if receive.on_bad_item == "reject_report" else "is refused alone",
    }


def _send_facts(provider: Provider, send: Send) -> Facts:
    facts: Facts = {"sends": {form.name: sent(form, provider) for form in send.requests}}
    if send.login is not None:
        facts["logs_in"] = login_words(send.login, filled_in(send.login.form.path, provider))
    first: dict[str, str] = {}
    for target in () if provider.relay else own_targets(provider):
        holding = _holding(target)
        if not first:
            first = facts["holds"] = holding
        elif holding != first:
            facts[f"holds_by_{target.form.name}"] = holding
    return facts


def _holding(target: Any) -> dict[str, str]:
    try:
        return holding_words(probe_capabilities(target))
    except ProbeFailed as error:
        return {"unknown": str(error)}


def received(form: RequestMatch, prefix: str = "") -> str:
    """Return a call that is listened for, in a few words."""
    words = f"{form.method} {prefix}{form.path}"
    tests = [f"{subject} {' or '.join(patterns)}" for subject, patterns in form.match.tests.items()]
    also = form.local_call
    return ", ".join(
        [
            words,
            *([f"body {form.body}"] if form.body != "none" else []),
            *(f"where {test}" for test in tests),
            *([f"gives out {also.issues}"] if also and also.issues else []),
            *([f"ends {also.ends}"] if also and also.ends else []),
        ]
    )


def sent(form: CallForm, provider: Provider, base: str = "") -> str:
    """Return a call that is made, in a few words; what is given to it stands there in capitals."""
    body = next((kind for kind in ("json", "form", "text") if getattr(form, kind) is not None), "")
    signed = " or ".join(recipe.name for recipe in form.sign)
    return ", ".join(
        [
            f"{form.method} {base}{filled_in(form.path, provider)}",
            *([f"body {body}"] if body else []),
            *([f"signed by {signed}"] if signed else []),
        ]
    )


def login_words(login: Login, url: str) -> str:
    """Return how a session is got, in a few words; `url` is where the call goes, as far as it is known."""
    call = f"{login.form.method} {url}"
    return f"for {login.for_recipe.name}: {call}, signed by {login.sign.name}, good for {login.lifetime_s:g} s"


def given_words(given: Mapping[str, Any]) -> dict[str, str]:
    """Return what is given by name; of a map or list, how much there is."""
    return {
        name: f"{len(value)} entries" if isinstance(value, dict | list) else str(value) for name, value in given.items()
    }


def filled_in(text: Text, provider: Provider, given: Mapping[str, Any] | None = None) -> str:
    """Return a text with what is given in it, the names of what is needed in capitals."""
    needed = {name: name.upper() for name in provider.needs}
    try:
        return text({"given": {**needed, **provider.given, **(given or {})}}) or "…"
    except EvaluationError:
        return "…"


def rule_facts(rules: Iterable[Rule]) -> dict[str, str]:
    """Return each rule in words, by its field."""
    words = {rule.field: ", ".join(f"{name} {value}" for name, value in _stated(rule).items()) for rule in rules}
    return {field: re.sub(r" True\b", "", text) for field, text in words.items()}


def _stated(spec: Any) -> dict[str, str]:
    """Return the fields of a spec that are not left at their default."""
    stated = {}
    for each in fields(spec):
        value = getattr(spec, each.name)
        if each.default is not MISSING and value != each.default:
            stated[each.name.rstrip("_")] = _plain(value)
    return stated


def _plain(value: Any) -> str:
    if isinstance(value, re.Pattern):
        return str(value.pattern)
    if isinstance(value, frozenset):
        return " ".join(sorted(value))
    if callable(value):
        return "by an expression"
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def facts_of_recipe(recipe: Recipe, providers: Iterable[Provider]) -> Facts:
    """Return what the recipe is, and who uses it."""
    signature = recipe.signature
    return present(
        {
            "recipe": recipe.name,
            "credential": "a key and its secret" if recipe.needs_key else "a secret",
            "carried_in": [_carrier_words(carrier) for carrier in recipe.carriers],
            "signature": f"{signature.method} {signature.hash}".strip()
            if signature
            else "none: the secret itself travels",
            "signed": sorted(recipe.signed),
            "needs": [name for name, slot in recipe.slots.items() if isinstance(slot, GivenSlot)],
            "time": ", ".join(
                f"{slot.format}, within {slot.window_s:g} s"
                for slot in recipe.slots.values()
                if isinstance(slot, TimeSlot)
            ),
            "once_only": list(recipe.replay),
            "steps": list(recipe.steps),
            "used_by": {each.name: uses for each in providers if (uses := _uses(each, recipe))},
        }
    )


def _carrier_words(carrier: Carrier) -> str:
    return f"{carrier.place} {carrier.name}: {', '.join(sorted(carrier.slots))}" + (
        ", optional" if carrier.optional else ""
    )


def _uses(provider: Provider, recipe: Recipe) -> str:
    receive, send = provider.receive, provider.send
    calls = [form.local_call.verify for form in receive.requests if form.local_call] if receive else []
    uses = {
        "verifies": receive is not None and recipe in receive.verify,
        "takes logins": any(recipe in verify for verify in calls),
        "signs": send is not None and any(recipe in form.sign for form in send.requests),
        "logs in": send is not None and send.login is not None and send.login.sign == recipe,
    }
    return ", ".join(word for word, holds in uses.items() if holds)


def present(facts: Facts) -> Facts:
    """Leave out what is empty."""
    return {name: fact for name, fact in facts.items() if fact}
