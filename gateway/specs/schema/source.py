"""The keys of a route's `receive` and of its credentials, and the source that they are built to."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Literal

from gateway.core.http.received import DEFAULT_CAPS, Caps
from gateway.core.recipe.keyring import MAX_SECRETS_PER_KEY, Credential
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.slots import KeySlot
from gateway.core.text import did_you_mean
from gateway.core.vendor.matching import ANY_REQUEST
from gateway.core.vendor.provider import Provider, Receive
from gateway.core.vendor.route import Network, Source
from gateway.core.vendor.verifiers import local_verifiers, make_verifiers
from gateway.specs.binding import types as t
from gateway.specs.binding.place import Invalid, Place
from gateway.specs.binding.table import Key, Table, optional
from gateway.specs.schema.provider import GIVEN, given_slots
from gateway.specs.schema.receive import ROUTE_MATCH, captures
from gateway.specs.schema.rules import RULES, make_rules

MIN_SECRET_CHARS = 4
NAME_NETWORKS = "name the reporters' networks: from: [10.0.0.0/8]"


def _check_secret(at: Place, credential: Credential) -> None:
    if len(credential.secret.reveal()) < MIN_SECRET_CHARS:
        what = f"a secret of fewer than {MIN_SECRET_CHARS} characters is easy to guess, and masking it hides other text"
        at.warning(what, "use a longer one", "secret")


CREDENTIAL = Table(
    "credential",
    Credential,
    optional("key", t.NOT_EMPTY, "the key id, if the scheme has one"),
    Key("secret", t.SECRET, "the secret, password or session", secret=True),
    optional("recipe", t.TEXT, "restricts the credential to one recipe"),
    check=_check_secret,
)


def report_unserved(at: Place, credential: Credential, recipes: Iterable[Recipe]) -> None:
    """Report a credential that none of the recipes can use."""
    by_name = {recipe.name: recipe for recipe in recipes}
    names = ", ".join(by_name) or "any recipe"
    if credential.recipe in by_name:
        takes = "takes a key: add `key:`" if credential.key is None else "takes no key: leave `key:` out"
        at.error(f"{credential.recipe} {takes}", "", "recipe")
    elif credential.recipe is not None:
        at.error(f"{credential.recipe!r} is not among {names}", "", "recipe")
    elif credential.key is None:
        at.error(f"a secret without a key does not fit {names}", "add `key:`")
    else:
        at.error(f"a key with a secret does not fit {names}", "leave `key:` out")


def check_chars(at: Place, credential: Credential, recipe: Recipe) -> None:
    """Report a credential with characters that the recipe's carriers cannot hold: it could never be verified."""
    for slot in credential.misfits(recipe):
        part = "key" if isinstance(slot, KeySlot) else "secret"
        at.error(f"{recipe.name} takes {part}s of the form {slot.chars}", "", part)


def _read_provider(place: Place) -> Provider:
    name, known = t.TEXT.read(place), place.scope.providers
    if name not in known:
        place.scope.document.unknown(place.path, "provider", name, known)
        raise Invalid
    return known[name]


def _read_network(place: Place) -> Network:
    written = t.TEXT.read(place)
    try:
        network = ip_network(written, strict=False)
    except ValueError:
        raise place.invalid("this is not a network", "write 10.0.0.0/8 or fc00::/7") from None
    if str(network.network_address) != str(ip_address(written.partition("/")[0])):
        hint = "write its first address" if place.has_variable() else f"write {network}"
        raise place.invalid("the network has host bits set", hint)
    return network


PROVIDER_NAME = t.Plain("name of a provider", _read_provider, {"type": "string"})
NETWORKS = t.list_of(t.Plain("network", _read_network, {"type": "string"}))
CREDENTIALS = t.list_or("list of credential, or `none`", t.list_of(CREDENTIAL), t.word(("none",)))


def _source(
    at: Place,
    provider: Provider,
    credentials: Sequence[Credential] | Literal["none"],
    verify: Sequence[str] | None,
    given: Mapping[str, Any],
    rules: Mapping[str, Mapping[str, Any]],
    from_: tuple[Network, ...] | None,
    **keys: Any,
) -> Source:
    receive = provider.receive
    if receive is None:
        raise at.invalid(f"{provider.name} has no `receive`: reports cannot be made to it", "", "provider")
    is_relay, captured = provider.relay, [frozenset(captures(form.path)) for form in receive.requests]
    at.scope.captured = frozenset.intersection(*captured) if is_relay else frozenset()
    recipes = receive.verify if verify is None else _chosen(at, verify, receive)
    check_given(at, given, provider, [*recipes, *receive.local_recipes])
    pins = {name: str(value) for name, value in given.items()}
    own = None if credentials == "none" else credentials
    verifiers = None if own is None else make_verifiers(receive, recipes, own, pins)
    if own is not None:
        _check_credentials(at, own, [*recipes, *receive.local_recipes] if recipes else [])
    elif from_ is None:
        at.warning("everyone who can reach this route may report to it", NAME_NETWORKS, "credentials")
    if own and not verifiers and not at.scope.document.errors:
        names = ", ".join(recipe.name for recipe in recipes)
        at.error(f"no credential fits {names} or logs in for it: every report would be rejected", "", "credentials")
    for verifier in verifiers or () if from_ is None else ():
        # Others could change what the mapping reads and the signature does not cover.
        unsigned = verifier.recipe.leaves_unsigned(receive.reads)
        names = ", ".join(sorted(f"{part} body" if part in ("json", "form", "text") else part for part in unsigned))
        if unsigned:
            what = f"{verifier.recipe.name} does not sign {names}, which the provider reads"
            at.warning(what, NAME_NETWORKS, "provider")
    # A body that is parsed before verification must not inflate beyond what the wire allows.
    parses_body = any(each.recipe.parses_body for each in verifiers or ())
    return Source(
        provider=provider,
        receive=receive,
        verifiers=verifiers,
        given={**provider.given, **given},
        rules=tuple(make_rules(rules, provider.rules).values()),
        pins=pins,
        local_verifiers=local_verifiers(receive, own, pins),
        networks=from_,
        caps=Caps(keys["max_body_bytes"]) if parses_body else DEFAULT_CAPS,
        **keys,
    )


SOURCE = Table(
    "route.receive",
    _source,
    Key("provider", PROVIDER_NAME, "the provider"),
    Key("credentials", CREDENTIALS, "what reporters sign with; `none` accepts reports unverified", secret=True),
    optional("verify", t.list_of(t.TEXT), "the accepted recipes; default: those that a credential can serve"),
    optional("given", GIVEN, "values that the request must contain", {}),
    optional("rules", RULES, "overrides the provider's rules, key by key", {}),
    optional("from", NETWORKS, "networks that reporters may connect from, such as `10.0.0.0/8`"),
    optional("match", ROUTE_MATCH, "conditions; the route with more conditions is tried first", ANY_REQUEST),
    optional("path", t.text(r"(/[A-Za-z0-9._~-]+)*"), "`/PREFIX` before the provider's own paths", ""),
    optional("public_url", t.BASE_URL, "the URL that reporters use, if a proxy changes it"),
    optional("hide_unknown_keys", t.BOOLEAN, "`true` replies to an unknown key as to a wrong signature", False),
    optional("max_body_bytes", t.COUNT, "the largest body on the wire", 1_048_576),
    optional("read_timeout_s", t.POSITIVE, "the deadline for the body", 10.0),
)


def _chosen(at: Place, verify: Sequence[str], receive: Receive) -> list[Recipe]:
    if not verify:
        at.error("no recipe is named: nothing would be verified", "leave `verify` out, or name one", "verify")
    by_name = {recipe.name: recipe for recipe in receive.verify}
    for index, name in enumerate(verify):
        if name not in by_name:
            at.error(f"the provider has no recipe {name!r}", did_you_mean(name, by_name), "verify", index)
    return [by_name[name] for name in verify if name in by_name]


def _check_credentials(at: Place, credentials: Sequence[Credential], recipes: Sequence[Recipe]) -> None:
    if not credentials:
        what = "no credential is given: every report would be rejected"
        at.error(what, "name one, or write `credentials: none`", "credentials")
    for place, credential in zip(at.at("credentials"), credentials, strict=True):
        fitting = [recipe for recipe in recipes if credential.serves(recipe)]
        if recipes and not fitting:
            report_unserved(place, credential, recipes)
        for recipe in fitting:
            check_chars(place, credential, recipe)
    for key, secrets in sorted(Counter(credential.key for credential in credentials if credential.key).items()):
        if secrets > MAX_SECRETS_PER_KEY:
            at.error(f"the key {key!r} has more than {MAX_SECRETS_PER_KEY} secrets", "", "credentials")


def check_given(at: Place, given: Mapping[str, Any], provider: Provider, recipes: Iterable[Recipe]) -> None:
    """Report each given that nothing in the provider reads."""
    forms = provider.receive.requests if provider.receive else ()
    captured = [name for form in forms for name in captures(form.path)]
    known = {*provider.given, *provider.needs, *captured, *(name for each in recipes for name in given_slots(each))}
    for name in given:
        if name not in known:
            at.error(f"nothing in {provider.name} reads `given.{name}`", did_you_mean(name, known), "given", name)
