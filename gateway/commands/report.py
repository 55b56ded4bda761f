"""gateway report: play a vendor's reporter, from data points as JSON lines."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated
from uuid import uuid4

import typer

from gateway.commands.loading import load_or_fail, provider_named
from gateway.commands.options import (
    Given,
    Json,
    Key,
    SecretOption,
    SpecFolder,
    fail,
    read_file,
    read_given,
    read_secret,
)
from gateway.commands.printing import line, outcome_json, print_json
from gateway.commands.targets import split_url
from gateway.core.accept import ANYONE, Accepted
from gateway.core.decode import Item, read_point
from gateway.core.errors import GatewayError
from gateway.core.json import read_json
from gateway.core.model import DataPoint
from gateway.core.outcome import Outcome
from gateway.core.provider import Provider
from gateway.core.recipe.keyring import Credential
from gateway.core.route import Route, Target
from gateway.delivery.client import Client
from gateway.delivery.direct import Direct
from gateway.specs.cases import stand_in_route
from gateway.telemetry import Telemetry


def report(
    provider: Annotated[str, typer.Argument(metavar="PROVIDER", help="The vendor whose reporter is played.")],
    url: Annotated[str, typer.Option("--url", metavar="BASE", help="Where to report: http://HOST:PORT.")],
    key: Key = None,
    secret: SecretOption = None,
    given: Given = None,
    points: Annotated[
        str | None, typer.Option("--points", metavar="FILE", help="Data points as JSON lines; - is standard input.")
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, help="How many reports to send, one after the other.")] = 1,
    timeout_s: Annotated[float, typer.Option("--timeout-s", min=0.01, help="Deadline of each report, in seconds.")] = 5,
    routes: SpecFolder = None,
    json: Json = False,
) -> None:
    """Report data points as this vendor's own reporters would, and print what became of them.

    Without --points, one made-up data point is sent. Exits 1 when a report is refused.

    Example: gateway report zstack --url http://127.0.0.1:8080 --secret env:ZSTACK_SESSION
    """
    specs = load_or_fail(routes)
    route = _route(provider_named(specs, provider), url, _credential(key, secret), read_given(given), timeout_s)
    items = list(_items(points))
    failed = 0
    for outcome in asyncio.run(_report(route, items, count)):
        failed += not outcome.ok
        if json:
            print_json(outcome_json(outcome))
        else:
            words = f"{outcome.code} {outcome.reason or ''}".rstrip()
            line(f"{words}: {outcome.message or f'{outcome.accepted} data points'}")
    raise typer.Exit(1 if failed else 0)


def _credential(key: str | None, secret: str | None) -> Credential | None:
    return None if secret is None and key is None else Credential(read_secret(secret), key)


def _route(
    provider: Provider, url: str, credential: Credential | None, given: dict[str, str], timeout_s: float
) -> Route:
    if provider.send is None:
        fail(f"{provider.name} has no `send`: its reporters cannot be played")
    missing = [name for name in provider.needs if name not in given and name not in provider.given]
    if missing:
        fail(f"{provider.name} needs --given {missing[0]}=…")
    form, recipe = provider.send.requests[0], None
    for candidate in provider.send.requests:
        fitting = [each for each in candidate.sign if credential and each.needs_key == (credential.key is not None)]
        if fitting or (credential is None and not candidate.sign):
            form, recipe = candidate, next(iter(fitting), None)
            break
    else:
        needs = "--secret alone" if form.sign and not form.sign[0].needs_key else "--key and --secret"
        fail(f"calls to {provider.name} are signed: give {needs}")
    scheme, host, base_path = split_url(url, "--url")
    target = Target(
        provider=provider,
        send=provider.send,
        form=form,
        scheme=scheme,
        host=host,
        base_path=base_path,
        recipe=recipe,
        credential=credential,
        given={**provider.given, **given},
        rules=(),
        timeout_s=timeout_s,
    )
    return replace(stand_in_route(provider), target=target)


async def _report(route: Route, items: list[Item], count: int) -> list[Outcome]:
    client = Client()
    direct = Direct(client, Telemetry())
    outcomes = []
    try:
        for _ in range(count):
            try:
                outcomes.append(await direct.deliver(route, Accepted(ANYONE, tuple(items)), uuid4().hex))
            except GatewayError as error:
                outcomes.append(error.outcome)
    finally:
        await client.close()
    return outcomes


def _items(path: str | None) -> Iterator[Item]:
    if path is None:
        made_up = DataPoint(
            "gateway.test", time.time_ns(), namespace="gateway", value=1, attributes={"reporter": "gateway"}
        )
        yield Item(0, None, made_up)
        return
    for number, text in enumerate(read_file(path, "--points").splitlines(), 1):
        if text.strip():
            yield Item(number - 1, None, _point(text, f"{path}:{number}"))


def _point(text: bytes, place: str) -> DataPoint:
    try:
        fields = read_json(text)
        if not isinstance(fields, dict) or not isinstance(fields.get("metric"), str):
            raise ValueError("a data point is an object with a metric")
        return read_point(fields, now_ns=time.time_ns())
    except ValueError as error:
        fail(f"--points: {place}: {error}")
