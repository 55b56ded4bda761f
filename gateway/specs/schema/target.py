"""The keys of a route's `send` and of a mirror, and the target that they are built to."""

from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gateway.core.expression import EvaluationError
from gateway.core.http.request import PublicUrl
from gateway.core.http.url import split_url
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.model import Recipe
from gateway.core.sending.sign import login_url
from gateway.core.text import did_you_mean
from gateway.core.vendor.provider import CallForm, Login, Provider, Send
from gateway.core.vendor.route import Target, TlsSettings
from gateway.files import fingerprint
from gateway.proof.capabilities import arriving_stats
from gateway.specs.binding import types as t
from gateway.specs.binding.place import Invalid, Place
from gateway.specs.binding.table import Key, Table, optional
from gateway.specs.schema.provider import GIVEN
from gateway.specs.schema.rules import LIMITS, RULES, make_limits, make_rules
from gateway.specs.schema.source import CREDENTIAL, PROVIDER_NAME, check_chars, check_given, report_unserved
from gateway.tls import BadPem, target_context


def _read_file_name(place: Place) -> str:
    """Read a path from the folder of the file that names it."""
    document = place.scope.document
    file = Path(document.node.mark.file).parent / t.NOT_EMPTY.read(place)
    document.files[file] = fingerprint(file)
    return str(file)


def _check_tls(at: Place, tls: TlsSettings) -> None:
    if tls.cert is None and tls.key is not None:
        at.error("a key without its certificate", "add `cert:`", "key")


FILE = t.Plain("text", _read_file_name, {"type": "string", "minLength": 1})
TLS = Table(
    "tls",
    TlsSettings,
    Key("ca", FILE, "the trusted CAs, instead of those of the system"),
    Key("cert", FILE, "the client certificate with its chain, for upstreams that request one"),
    Key("key", FILE, "its key, without a passphrase, unless `cert` contains it"),
    Key("strict", t.BOOLEAN, "`true` requires certificates that follow RFC 5280"),
    check=_check_tls,
)


def _delivery(mode: str = "direct", timeout_s: float = 5, coalesce: bool = True) -> dict[str, Any]:
    """Return the fields of a target that `delivery` decides."""
    return {"queued": mode == "queued", "timeout_s": timeout_s, "coalesce": coalesce}


DIRECT = _delivery()
DELIVERY = Table(
    "delivery",
    _delivery,
    Key("mode", t.word(("direct", "queued")), "the reply waits for the upstream, or until the data points are on disk"),
    Key("timeout_s", t.POSITIVE, "the deadline of a report in `direct` mode, of a call in `queued` mode"),
    Key("coalesce", t.BOOLEAN, "`false` sends reports that wait for the same target in separate calls"),
)


def _target(
    at: Place,
    name: str,
    provider: Provider,
    url: PublicUrl | None,
    credential: Credential | None,
    given: Mapping[str, Any],
    request: str | None,
    sign: str | None,
    rules: Mapping[str, Mapping[str, Any]],
    limits: Mapping[str, Any],
    connect_timeout_s: float,
    tls: TlsSettings | None,
    delivery: Mapping[str, Any] = DIRECT,
) -> Target:
    send = provider.send
    if send is None:
        raise at.invalid(f"{provider.name} has no `send`: nothing can be sent to it", "", "provider")
    values, captured = {**provider.given, **given}, at.scope.captured
    for needed in provider.needs:
        if values.get(needed) in (None, "") and captured is not None and needed not in captured:
            at.error(f"{provider.name} needs `given.{needed}` to send", "", "given")
    login = send.login_for(credential)
    chosen = _choose_call(at, send, login, credential, request, sign)
    url = url or _provider_url(at, provider, values)
    if chosen is None or url is None:
        raise Invalid
    form, recipe = chosen
    others = [each for each in (login and login.sign, send.poll and send.poll.sign) if isinstance(each, Recipe)]
    check_given(at, given, provider, [*form.sign, *others])
    if recipe is not None and recipe.needs_rsa and find_spec("cryptography") is None:
        what = f"{recipe.name} signs with RSA, and the package for that is not installed"
        at.error(what, "pip install 'metric-gateway[rsa]'", "provider")
    if recipe is not None and credential is not None:
        check_chars(at.at("credential"), credential, login.sign if login else recipe)
    if send.poll and isinstance(send.poll.sign, Recipe) and credential and not _fits(credential, send.poll.sign, login):
        report_unserved(at.at("credential"), credential, [send.poll.sign])
    target = Target(
        name=name,
        provider=provider,
        send=send,
        form=form,
        url=url,
        recipe=recipe,
        credential=credential,
        given=values,
        stated=frozenset(given),
        rules=tuple(make_rules(rules, provider.rules).values()),
        login=login,
        limits=make_limits(limits, provider.limits),
        connect_timeout_s=connect_timeout_s,
        tls=_tls(at.at("tls"), tls, url) if tls else None,
        **delivery,
    )
    if login is not None:
        try:
            login_url(target, login)
        except (ValueError, EvaluationError) as error:
            at.error(f"the provider's `send.login.url` is not a URL with these values: {error}", "", "given")
    return replace(target, holds_stats=arriving_stats(target)) if provider.receive else target


def check_poll(at: Place, target: Target) -> None:
    """Report a deadline before the first poll. `at` is the place of the map that contains `delivery`."""
    poll = target.send.poll
    if poll is not None and poll.every_s >= target.timeout_s:
        what = f"a delivery of {target.timeout_s:g} s is too short to poll every {poll.every_s:g} s"
        at.error(what, "raise `timeout_s`", "delivery")


_TARGET_KEYS = (
    Key("provider", PROVIDER_NAME, "the provider"),
    optional("url", t.BASE_URL, "where calls go; default: the provider's URL"),
    Key("credential", CREDENTIAL, "what signs the calls", secret=True, default=None),
    optional("given", GIVEN, "values that the provider `needs`", {}),
    optional("request", t.TEXT, "the provider's request; default: the first that the credential can serve"),
    optional("sign", t.TEXT, "the provider's recipe; default: the first that the credential can serve"),
    optional("rules", RULES, "overrides the provider's rules, key by key", {}),
    optional("limits", LIMITS, "overrides the provider's limits, key by key", {}),
    optional("connect_timeout_s", t.POSITIVE, "the deadline for connecting", 2.0),
    optional("tls", TLS, "settings for `https://`"),
)
TARGET = Table("route.send", _target, *_TARGET_KEYS)
MIRROR = Table(
    "mirror",
    _target,
    Key("mirror", t.NAME, "the name", to="name"),
    *_TARGET_KEYS,
    Key("delivery", DELIVERY, "how data points are delivered"),
    check=check_poll,
)


def _tls(at: Place, tls: TlsSettings, url: PublicUrl) -> TlsSettings | None:
    """Return the settings of the target's calls, or None if they cannot be used, which is reported."""
    document, path = at.scope.document, at.path
    if url.scheme != "https":
        document.environmental(path, "calls to a URL of http:// are never encrypted", "write https://")
        return None
    files = [Path(file) for file in (tls.ca, tls.cert, tls.key) if file is not None]
    tls = replace(tls, fingerprints=tuple(document.files[file] for file in files))
    try:
        target_context(tls)
    except BadPem as error:
        path = (*path, error.part)
        document.environmental(path, f"{document.written(path)!r} {error.what}")
        return None
    return tls


def _choose_call(
    at: Place, send: Send, login: Login | None, credential: Credential | None, request: str | None, sign: str | None
) -> tuple[CallForm, Recipe | None] | None:
    """Return the call and the recipe that signs it: those that the route names, else the first that fit."""
    forms = [form for form in send.requests if request in (None, form.name)]
    if not forms:
        hint = did_you_mean(request or "", [form.name for form in send.requests])
        at.error(f"no request is named {request!r}", hint, "request")
        return None
    if credential is None and sign is None:
        unsigned = next((form for form in forms if not form.sign), None)
        if unsigned is not None:
            return unsigned, None
    recipes = {recipe.name: recipe for form in forms for recipe in form.sign}
    for form in forms:
        for recipe in form.sign:
            if sign in (None, recipe.name) and _fits(credential, recipe, login):
                return form, recipe
    if sign is not None and sign not in recipes:
        at.error(f"the provider has no recipe {sign!r}", did_you_mean(sign, recipes), "sign")
    elif credential is not None:
        report_unserved(at.at("credential"), credential, recipes.values())
    else:
        at.error("'credential' is missing: calls to this provider are signed")
    return None


def _fits(credential: Credential | None, recipe: Recipe, login: Login | None) -> bool:
    if login is not None:
        return recipe.name == login.for_recipe.name
    return credential is not None and credential.serves(recipe)


def _provider_url(at: Place, provider: Provider, given: Mapping[str, Any]) -> PublicUrl | None:
    """Return the provider's URL, filled in; None if it cannot be, which is reported."""
    try:
        url = provider.url and provider.url({"given": given})
        if url is not None:
            return split_url(url)
        at.error("'url' is missing, and the provider has none")
    except (EvaluationError, ValueError) as error:
        at.error(str(error), "", "given" if isinstance(error, EvaluationError) else "url")
    return None
