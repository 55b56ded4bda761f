"""What a person on call wants to know of a route, as plain data. A secret is always `***`; its key id is shown."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from gateway.commands.output.facts import Facts, filled_in, given_words, login_words, present, received, rule_facts
from gateway.commands.output.losses import lost_words
from gateway.core.expression import EvaluationError
from gateway.core.http.request import PublicUrl
from gateway.core.recipe.verify import Verifier
from gateway.core.sending.sign import login_url
from gateway.core.vendor.provider import Limits, Login, Provider
from gateway.core.vendor.route import PointChanges, Route, Source, Target
from gateway.proof.loss import route_loss
from gateway.proof.probe import ProbeFailed
from gateway.specs.yaml.diagnostic import Diagnostic


def facts_of_route(route: Route, findings: Sequence[Diagnostic]) -> Facts:
    """Return what the route is; `findings` are what its load had to say."""
    return present(
        {
            "route": route.name,
            **_source_facts(route.source),
            **_target_facts(route.target),
            "points": _change_words(route.points),
            "lost": _lost_words(route),
            **_delivery_facts(route.target),
            **{f"mirror_{mirror.name}": _mirror_facts(route, mirror) for mirror in route.mirrors},
            "warnings": [str(finding) for finding in findings],
        }
    )


def _source_facts(source: Source) -> Facts:
    conditions = {subject: " or ".join(patterns) for subject, patterns in source.match.tests.items()}
    return {
        "from": _named(source.provider),
        "listens_for": [received(form, source.path) for form in source.receive.requests],
        "where": conditions,
        "reporters": _credential_words(source),
        "networks": ["any"] if source.networks is None else [str(network) for network in source.networks],
        "public_url": "" if source.public_url is None else _url_text(source.public_url),
        "pinned": dict(source.pins),
        "takes": f"bodies of up to {source.max_body_bytes} bytes, within {source.read_timeout_s:g} s",
        "rules_in": rule_facts(source.rules),
    }


def _credential_words(source: Source) -> list[str]:
    if source.checks is None:
        return ["whoever reaches the route"]
    checks = {check.recipe.name: check for check in source.checks}
    for each in source.local_checks.values():
        checks |= {check.recipe.name: check for check in each or ()}
    return [f"{name}: {words}" for name, check in checks.items() for words in _secrets_of(check)]


def _secrets_of(check: Verifier) -> list[str]:
    keyring = check.keyring
    lone = [_masked_secrets(len(keyring.by_digest))] if keyring.by_digest else []
    return [*lone, *(f"key {key}, {_masked_secrets(len(secrets))}" for key, secrets in keyring.by_key.items())]


def _masked_secrets(number: int) -> str:
    return "secret ***" if number == 1 else f"{number} secrets ***"


def _target_facts(target: Target) -> Facts:
    base = _url_text(PublicUrl(target.scheme, target.host, target.base_path))
    path = filled_in(target.form.path, target.provider, target.given)
    return {
        "to": _named(target.provider),
        "calls": f"{target.form.method} {base}{path}, request {target.form.name}",
        "signs": _signing_words(target),
        "logs_in": login_words(target.login, _login_url(target, target.login)) if target.login else "",
        "given": given_words(target.given),
        "rules_out": rule_facts(target.rules),
    }


def _login_url(target: Target, login: Login) -> str:
    path = filled_in(login.form.path, target.provider, target.given)
    try:
        return _url_text(login_url(target, login)) + path
    except (ValueError, EvaluationError):  # a variable in it is not set
        return f"…{path}"


def _delivery_facts(target: Target) -> dict[str, str]:
    """Return how calls of the target are made: whether they wait on disk, how fast they go, by which files of TLS."""
    mode = "queued, each call" if target.queued else "direct,"
    words = [f"{mode} within {target.timeout_s:g} s", f"{target.connect_timeout_s:g} s to connect"]
    words += [] if target.coalesce else ["each report by itself"]
    return {
        "delivery": ", ".join(words),
        "limits": ", ".join(_limit_words(target.limits)),
        "tls": ", ".join(f"{part} {file}" for part, file in target.tls_keys.items()),
    }


def _limit_words(limits: Limits) -> Iterator[str]:
    pace = limits.pace
    for number, words in (
        (limits.points, "points a call"),
        (limits.bytes, "bytes a call"),
        (limits.concurrency, "calls at a time"),
        (pace.requests_per_s, "calls a second"),
        (pace.points_per_s, "points a second"),
    ):
        if number is not None:
            yield f"{number:.15g} {words}"
    if limits.ordered:
        yield "in order"


def _mirror_facts(route: Route, mirror: Target) -> dict[str, str]:
    facts = _target_facts(mirror)
    words = {name: str(facts[name]) for name in ("to", "calls", "signs", "logs_in")}
    loses = "; ".join(f"{name}: {what}" for name, what in _lost_words(replace(route, target=mirror)).items())
    return present_words({**words, "loses": loses, **_delivery_facts(mirror)})


def _signing_words(target: Target) -> str:
    recipe, credential = target.recipe, target.credential
    if recipe is None or credential is None:
        return "nothing"
    key = f"key {credential.key}, " if credential.key is not None else ""
    return f"{recipe.name}: {key}secret ***"


def _change_words(changes: PointChanges) -> dict[str, str]:
    return present_words(
        {
            "keep": "not all of them" if changes.keep is not None else "",
            "set": ", ".join(name for name, _ in changes.set),
            "stats": f"{changes.stats} becomes the value" if changes.stats else "",
            "allow_loss": ", ".join(changes.allow_loss),
        }
    )


def _lost_words(route: Route) -> dict[str, str]:
    if route.target.provider.relay:
        return {}
    try:
        loss = route_loss(route)
    except ProbeFailed as error:
        return {"unknown": str(error)}
    accepted = {name: " (accepted)" for name in route.points.allow_loss}
    words = {each.field: lost_words(each) + accepted.get(each.field, "") for each in loss.lost}
    return words | {name: "is required, and never stated" for name in loss.missing} or {
        "nothing": "all arrives as stated"
    }


def present_words(words: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in words.items() if text}


def _named(provider: Provider) -> str:
    return provider.name if provider.title == provider.name else f"{provider.name}, {provider.title}"


def _url_text(url: PublicUrl) -> str:
    return f"{url.scheme}://{url.host}{url.prefix}"
