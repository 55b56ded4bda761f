"""gateway report: play a vendor's reporter, which sends data points from JSON lines by direct delivery."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer

from gateway.commands.arguments import options
from gateway.commands.arguments.loading import check_given, load_or_fail, named, recipes_for
from gateway.commands.arguments.options import Given, Json, Key, SecretOption, SpecFolder, option
from gateway.commands.output.errors import fail, misuse
from gateway.commands.output.printing import count, line, outcome_json, print_json
from gateway.core.context import AcceptedReport
from gateway.core.http.json import read_json
from gateway.core.http.request import PublicUrl
from gateway.core.outcome.errors import GatewayError
from gateway.core.outcome.masking import mask_outcome
from gateway.core.outcome.outcome import Outcome
from gateway.core.pipeline import ANONYMOUS
from gateway.core.points.decode import Item, read_point
from gateway.core.points.point import DataPoint
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.model import Recipe
from gateway.core.vendor.provider import CallForm, Login, Provider, Send
from gateway.core.vendor.route import Route, Target, TlsSettings
from gateway.delivery.call import CallSender
from gateway.delivery.client import Client
from gateway.delivery.dispatch import Dispatcher
from gateway.delivery.limits import Limiter
from gateway.delivery.transport import CallObserver
from gateway.specs.schema.cases import stand_in_route
from gateway.telemetry import Telemetry
from gateway.tls import BadPem, target_context


def report(
    provider: Annotated[str, typer.Argument(metavar="PROVIDER", help="The vendor whose reporter is played.")],
    url: Annotated[str, option("BASE", "Where to report: http[s]://HOST:PORT.")],
    ca: Annotated[Path | None, option("FILE", "Trust these CAs, in PEM form, and not the system's.")] = None,
    tls_strict: Annotated[
        bool,
        typer.Option(
            "--tls-strict/--no-tls-strict",
            help="Require certificates that follow RFC 5280, with an Authority Key Identifier.",
        ),
    ] = True,
    key: Key = None,
    secret: SecretOption = None,
    given: Given = None,
    points: Annotated[str | None, option("FILE", "Data points as JSON lines; - is standard input.")] = None,
    timeout_s: Annotated[float, option("SECONDS", "Deadline of the report.", min=0.01)] = 5,
    routes: SpecFolder = None,
    json: Json = False,
) -> None:
    """Play a vendor's reporter: send data points, print the outcome.

    Without --points, one made-up data point is sent. Exits 1 when the report is rejected.

    \b
    Example:
      gateway report acme --url http://127.0.0.1:8080 --key ID --secret env:KEY --points points.jsonl
    """
    base, stated = options.base_url(url, "--url"), options.read_given(given)
    credential = options.optional_credential(key, secret)
    played = named("provider", provider, load_or_fail(routes, only=()).providers)
    tls = _trust(ca, base, tls_strict)
    route = reporter_route(played, base, credential, stated)
    route = replace(route, target=replace(route.target, timeout_s=timeout_s, tls=tls))
    outcome = asyncio.run(send_report(route, list(_items(points))))
    if json:
        print_json(outcome_json(outcome))
    else:
        words = f"{outcome.code} {outcome.reason or ''}".rstrip()
        line(f"{words}: {outcome.message or count(outcome.accepted, 'data point')}")
    raise typer.Exit(0 if outcome.ok else 1)


def _trust(ca: Path | None, base: PublicUrl, strict: bool) -> TlsSettings | None:
    if ca is None and strict:
        return None
    if base.scheme != "https":
        option = "--no-tls-strict" if ca is None else "--ca"
        misuse(f"{option}: --url is not https, so no certificate is verified")
    settings = TlsSettings(str(ca) if ca else None, strict=strict)
    try:
        target_context(settings)
    except BadPem as error:
        fail(f"--ca: {error}")
    return settings


def _items(path: str | None) -> Iterator[Item]:
    if path is None:
        point = DataPoint("gateway.test", time.time_ns(), namespace="gateway", value=1)
        yield Item(0, None, replace(point, attributes={"reporter": "gateway"}))
        return
    numbered = enumerate(options.read_file(path, "--points").splitlines(), 1)
    lines = [(number, text) for number, text in numbered if text.strip()]
    if not lines:
        fail(f"--points: {path} has no data points")
    for index, (number, text) in enumerate(lines):
        try:
            yield Item(index, None, _point(text))
        except ValueError as error:
            fail(f"--points: {path}:{number}: {error}")


def _point(text: bytes) -> DataPoint:
    """Read a line of --points. Raises ValueError."""
    try:
        fields = read_json(text.decode("utf-8").encode())
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("metric"), str):
        raise ValueError('a data point is an object with a metric, such as {"metric": "load", "value": 1}')
    return read_point(fields, now_ns=time.time_ns())


async def send_report(route: Route, items: Sequence[Item], observer: CallObserver | None = None) -> Outcome:
    """Send one report as the vendor's programs do, and return its outcome."""
    client = Client()
    dispatcher = Dispatcher(CallSender(client, Telemetry(), observer), Limiter(pausing=False))
    try:
        accepted = AcceptedReport(ANONYMOUS, tuple(items))
        outcome = await dispatcher.deliver(route.name, route.target, accepted, uuid4().hex)
    except GatewayError as error:
        outcome = error.outcome
    finally:
        await client.close()
    return mask_outcome(outcome, route.secrets)


def reporter_route(provider: Provider, base: PublicUrl, credential: Credential | None, given: dict[str, str]) -> Route:
    """Return the route of a reporter that calls this URL, signed by the first recipe that the credential fits."""
    if provider.send is None:
        fail(f"{provider.name} has no `send`: its reporters cannot be played")
    if provider.relay:
        fail(f"{provider.name} is a relay: its calls contain no data points; `gateway sign` signs such a call")
    login = provider.send.login_for(credential)
    form, recipe = _form(provider.send, credential, login, provider.name)
    check_given(given, [*form.sign, *([login.sign] if login else [])], provider)
    missing = [name for name in provider.needs if name not in given and name not in provider.given]
    if missing:
        misuse(f"{provider.name} needs --given {missing[0]}=…")
    target = Target(
        provider=provider,
        send=provider.send,
        form=form,
        url=base,
        recipe=recipe,
        credential=credential,
        given={**provider.given, **given},
        rules=(),
        limits=provider.limits,
        login=login,
    )
    return replace(stand_in_route(provider), target=target)


def _form(send: Send, credential: Credential | None, login: Login | None, name: str) -> tuple[CallForm, Recipe | None]:
    """Return the first call that the credential can sign, and its recipe; without a credential, an unsigned call.

    With a login, return the first call that carries the session.
    """
    recipes = [recipe for form in send.requests for recipe in form.sign]
    if credential is None:
        for form in send.requests:
            if not form.sign:
                return form, None
        misuse(f"calls to {name} are signed: give " + ("--key and --secret" if recipes[0].key else "--secret"))
    fitting = [login.for_recipe] if login else recipes_for(credential, recipes, name)
    for form in send.requests:
        for recipe in form.sign:
            if recipe in fitting:
                return form, recipe
    misuse(f"calls to {name} are not signed: leave out --secret")
