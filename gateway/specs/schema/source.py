"""From the YAML of a route's `receive` to its source."""

from collections.abc import Iterable, Sequence
from ipaddress import ip_network

from gateway.core.expression.compiler import KeyPath
from gateway.core.http.received import DEFAULT_CAPS, Caps
from gateway.core.recipe.keyring import MAX_SECRETS_PER_KEY
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.verify import Verifier
from gateway.core.text import did_you_mean
from gateway.core.vendor.provider import Receive
from gateway.core.vendor.route import Network, Source
from gateway.core.vendor.verifiers import make_verifiers
from gateway.specs.schema.models import SourceSpec
from gateway.specs.schema.receive import build_conditions
from gateway.specs.schema.route_parts import RouteParts, check_chars, check_length, serves, to_credential

AT: KeyPath = ("receive",)


def build_source(parts: RouteParts, spec: SourceSpec) -> Source | None:
    provider = parts.provider(spec.provider, AT)
    if provider is None:
        return None
    if provider.receive is None:
        parts.document.error((*AT, "provider"), f"{provider.name} has no `receive`: nobody can report to it")
        return None
    recipes = _verify(parts, spec, provider.receive)
    calls = {form.name: form.local_call for form in provider.receive.requests if form.local_call is not None}
    logging_in = [recipe for call in calls.values() for recipe in call.verify]
    parts.check_given(spec.given, provider, [*recipes, *logging_in], AT)
    _check_credentials(parts, spec, [*recipes, *logging_in] if recipes else [])
    checks = _checks(spec, recipes, provider.receive)
    if checks == () and spec.credentials and not parts.document.errors:
        names = ", ".join(recipe.name for recipe in recipes)
        what = f"no credential serves {names}, nor logs in for it, so that every report would be refused"
        parts.document.error((*AT, "credentials"), what)
    if spec.from_ is None:
        _warn_of_unsigned(parts, provider.receive, checks or ())
    return Source(
        provider=provider,
        receive=provider.receive,
        checks=checks,
        given={**provider.given, **spec.given},
        rules=parts.rules(provider, spec.rules, (*AT, "rules")),
        pins={name: str(value) for name, value in spec.given.items()},
        local_checks={
            name: _checks(spec, call.verify, provider.receive) if call.verify else None for name, call in calls.items()
        },
        networks=None if spec.from_ is None else _networks(parts, spec.from_),
        match=build_conditions(spec.match),
        path=spec.path,
        public_url=None if spec.public_url is None else parts.url(spec.public_url, (*AT, "public_url")),
        hide_unknown_keys=spec.hide_unknown_keys,
        max_body_bytes=spec.max_body_bytes,
        caps=_caps(spec, checks or ()),
        read_timeout_s=spec.read_timeout_s,
    )


def _verify(parts: RouteParts, spec: SourceSpec, receive: Receive) -> Sequence[Recipe]:
    if spec.verify is None:
        return receive.verify
    if not spec.verify:
        what = "no recipe is named, so that nothing would be verified"
        parts.document.error((*AT, "verify"), what, "leave `verify` out, or name one")
    by_name = {recipe.name: recipe for recipe in receive.verify}
    for index, name in enumerate(spec.verify):
        if name not in by_name:
            hint = did_you_mean(name, by_name.keys())
            parts.document.error((*AT, "verify", index), f"the provider has no recipe {name!r}", hint)
    return [by_name[name] for name in spec.verify if name in by_name]


def _check_credentials(parts: RouteParts, spec: SourceSpec, recipes: Sequence[Recipe]) -> None:
    at = (*AT, "credentials")
    if spec.credentials == "none":
        what = "whoever reaches this route may report through it"
        if spec.from_ is None:
            parts.document.warning(at, what, "name the reporters' networks: from: [10.0.0.0/8]")
        return
    if not spec.credentials:
        what = "no credential is given, so that every report would be refused"
        parts.document.error(at, what, "name one, or write `credentials: none`")
    for index, credential in enumerate(spec.credentials):
        check_length(parts, credential, (*at, index))
    for index, credential in enumerate(spec.credentials if recipes else ()):
        if not any(serves(credential, recipe) for recipe in recipes):
            parts.unserved(credential, recipes, (*at, index))
        for recipe in recipes:
            if serves(credential, recipe):
                check_chars(parts, credential, recipe, (*at, index))
    keys = [credential.key for credential in spec.credentials if credential.key is not None]
    for key in sorted(set(keys)):
        if keys.count(key) > MAX_SECRETS_PER_KEY:
            parts.document.error(at, f"the key {key!r} has more than {MAX_SECRETS_PER_KEY} secrets")


def _checks(spec: SourceSpec, recipes: Iterable[Recipe], receive: Receive) -> tuple[Verifier, ...] | None:
    """Return what verifies the calls of these recipes.

    None, which lets everyone pass, is for `credentials: none` alone; without any check, everyone is refused.
    """
    if spec.credentials == "none":
        return None
    pins = {name: str(value) for name, value in spec.given.items()}
    return make_verifiers(receive, recipes, [to_credential(each) for each in spec.credentials], pins)


def _caps(spec: SourceSpec, checks: Iterable[Verifier]) -> Caps:
    """Return what may be read of a report: a small one must not become a large one before it is verified."""
    return Caps(spec.max_body_bytes) if any(check.recipe.parses_body for check in checks) else DEFAULT_CAPS


def _warn_of_unsigned(parts: RouteParts, receive: Receive, checks: Iterable[Verifier]) -> None:
    """Warn of what the mapping reads and a signature does not cover: on the way, anyone could change it."""
    for check in checks:
        unsigned = check.recipe.leaves_unsigned(receive.reads)
        if unsigned:
            names = ", ".join(sorted(f"{part} body" if part in ("json", "form", "text") else part for part in unsigned))
            what = f"{check.recipe.name} does not sign {names}, which the provider reads"
            parts.document.warning((*AT, "provider"), what, "name the reporters' networks: from: [10.0.0.0/8]")


def _networks(parts: RouteParts, texts: Sequence[str]) -> tuple[Network, ...]:
    networks = []
    for index, text in enumerate(texts):
        try:
            networks.append(ip_network(text))
        except ValueError:
            parts.document.error(
                (*AT, "from", index), *_not_a_network(text, parts.document.has_variable((*AT, "from", index)))
            )
    return tuple(networks)


def _not_a_network(text: str, hidden: bool) -> tuple[str, str]:
    """Return what is wrong with the text, and what to do; a `hidden` one is not shown."""
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return "this is not a network", "write 10.0.0.0/8 or fc00::/7"
    return "the network has host bits set", "write its first address" if hidden else f"write {network}"
