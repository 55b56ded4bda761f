"""From the YAML of a route's `send` to its target."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from gateway.core.expression import EvaluationError
from gateway.core.expression.compiler import KeyPath
from gateway.core.http.request import PublicUrl
from gateway.core.recipe.model import Recipe
from gateway.core.sending.sign import login_url
from gateway.core.text import did_you_mean
from gateway.core.vendor.provider import CallForm, Login, Poll, Provider, Send
from gateway.core.vendor.route import Target
from gateway.proof.capabilities import arriving_stats
from gateway.specs.schema.limits import build_limits
from gateway.specs.schema.models import CredentialSpec, DeliverySpec, TargetSpec
from gateway.specs.schema.route_parts import RouteParts, check_chars, check_length, serves, to_credential
from gateway.specs.tls import build_tls, written_tls


def build_target(
    parts: RouteParts,
    spec: TargetSpec,
    delivery: DeliverySpec,
    *,
    name: str = "send",
    at: KeyPath = ("send",),
    captured: Collection[str] = (),
) -> Target | None:
    """Return a target of the route; `at` is where it stands in the document.

    `captured` are names that the path of every received call gives to the call of a relay.
    """
    provider = parts.provider(spec.provider, at)
    if provider is None:
        return None
    if provider.send is None:
        parts.document.error((*at, "provider"), f"{provider.name} has no `send`: nothing can be sent to it")
        return None
    given = {**provider.given, **spec.given}
    for needed in provider.needs:
        if given.get(needed) in (None, "") and needed not in captured:
            parts.document.error((*at, "given"), f"{provider.name} needs `given.{needed}` to send")
    credential = None if spec.credential is None else to_credential(spec.credential)
    login = provider.send.login_for(credential)
    chosen = _call(parts, spec, provider.send, login, at)
    url = _url(parts, spec, provider, given, at)
    if chosen is None or url is None:
        return None
    form, recipe = chosen
    poll = provider.send.poll
    others = [each for each in (login and login.sign, poll and poll.sign) if isinstance(each, Recipe)]
    parts.check_given(spec.given, provider, [*form.sign, *others], at)
    if poll is not None:
        _check_poll(parts, spec.credential, poll, login, delivery.timeout_s, at)
    if spec.credential is not None:
        check_length(parts, spec.credential, (*at, "credential"))
    if recipe is not None:
        _check_rsa(parts, recipe, at)
        if spec.credential is not None:
            check_chars(parts, spec.credential, login.sign if login else recipe, (*at, "credential"))
    target = Target(
        name=name,
        queued=delivery.mode == "queued",
        provider=provider,
        send=provider.send,
        form=form,
        scheme=url.scheme,
        host=url.host,
        base_path=url.prefix,
        recipe=recipe,
        credential=credential,
        given=given,
        stated=frozenset(spec.given),
        rules=parts.rules(provider, spec.rules, (*at, "rules")),
        login=login,
        limits=build_limits(spec.limits, provider.limits),
        connect_timeout_s=spec.connect_timeout_s,
        tls=None if spec.tls is None else build_tls(parts.document, spec.tls, url, (*at, "tls")),
        tls_keys={} if spec.tls is None else written_tls(parts.document, spec.tls, (*at, "tls")),
        timeout_s=delivery.timeout_s,
        coalesce=delivery.coalesce,
    )
    if login is not None:
        _check_login_url(parts, target, login, at)
    return replace(target, holds_stats=arriving_stats(target)) if provider.receive else target


def _call(
    parts: RouteParts, spec: TargetSpec, send: Send, login: Login | None, at: KeyPath
) -> tuple[CallForm, Recipe | None] | None:
    """Return the form of call, and the recipe that signs it: what the route names, else the first that fits."""
    forms = [form for form in send.requests if spec.request in (None, form.name)]
    if not forms:
        hint = did_you_mean(spec.request or "", [form.name for form in send.requests])
        parts.document.error((*at, "request"), f"no request is named {spec.request!r}", hint)
        return None
    if spec.credential is None and spec.sign is None:
        unsigned = next((form for form in forms if not form.sign), None)
        if unsigned is not None:
            return unsigned, None
    for form in forms:
        for recipe in form.sign:
            if spec.sign in (None, recipe.name) and _fits(spec.credential, recipe, login):
                return form, recipe
    _report_unfit(parts, spec, forms, at)
    return None


def _fits(credential: CredentialSpec | None, recipe: Recipe, login: Login | None) -> bool:
    if login is not None:
        return recipe.name == login.for_recipe.name
    return credential is not None and serves(credential, recipe)


def _report_unfit(parts: RouteParts, spec: TargetSpec, forms: Sequence[CallForm], at: KeyPath) -> None:
    recipes = {recipe.name: recipe for form in forms for recipe in form.sign}
    if spec.sign is not None and spec.sign not in recipes:
        hint = did_you_mean(spec.sign, recipes.keys())
        parts.document.error((*at, "sign"), f"the provider has no recipe {spec.sign!r}", hint)
    elif spec.credential is not None:
        parts.unserved(spec.credential, recipes.values(), (*at, "credential"))
    else:
        parts.document.error(at, "'credential' is missing: calls to this provider are signed")


def _url(
    parts: RouteParts, spec: TargetSpec, provider: Provider, given: Mapping[str, Any], at: KeyPath
) -> PublicUrl | None:
    url = spec.url
    if url is None and provider.url is not None:
        try:
            url = provider.url({"given": given})
        except EvaluationError as error:
            parts.document.error((*at, "given"), str(error))
            return None
    if url is None:
        parts.document.error(at, "'url' is missing, and the provider has none")
        return None
    return parts.url(url, (*at, "url"))


def _check_login_url(parts: RouteParts, target: Target, login: Login, at: KeyPath) -> None:
    """Report a login URL that what the route gives makes unusable."""
    try:
        login_url(target, login)
    except (ValueError, EvaluationError) as error:
        what = f"the provider's `send.login.url` makes no URL of what is given: {error}"
        parts.document.error((*at, "given"), what)


def _check_poll(
    parts: RouteParts,
    credential: CredentialSpec | None,
    poll: Poll,
    login: Login | None,
    timeout_s: float,
    at: KeyPath,
) -> None:
    if poll.every_s >= timeout_s:
        what = f"a delivery of {timeout_s:g} s is too short to poll every {poll.every_s:g} s"
        parts.document.error(
            (*at[:-1], "delivery") if at == ("send",) else (*at, "delivery"), what, "raise `timeout_s`"
        )
    if isinstance(poll.sign, Recipe) and credential is not None and not _fits(credential, poll.sign, login):
        parts.unserved(credential, [poll.sign], (*at, "credential"))


def _check_rsa(parts: RouteParts, recipe: Recipe, at: KeyPath) -> None:
    if recipe.needs_rsa and find_spec("cryptography") is None:
        what = f"{recipe.name} signs with RSA, and the package for that is not installed"
        parts.document.error((*at, "provider"), what, "pip install 'metric-gateway[rsa]'")
