"""gateway report: play a vendor's reporter, which sends data points from JSON lines."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from gateway.commands.arguments.credentials import read_credential
from gateway.commands.arguments.loading import load_or_fail, provider_named
from gateway.commands.arguments.options import (
    Given,
    Json,
    Key,
    SecretOption,
    SpecFolder,
    base_url,
    read_file,
    read_given,
)
from gateway.commands.output.errors import fail, misuse
from gateway.commands.output.printing import count, line, outcome_json, print_json
from gateway.commands.roles.reporter import reporter_route, send_report
from gateway.core.http.json import read_json
from gateway.core.http.request import PublicUrl
from gateway.core.points.decode import Item, read_point
from gateway.core.points.point import DataPoint
from gateway.core.vendor.route import TlsSettings
from gateway.tls import BadPem, target_context


def report(
    provider: Annotated[str, typer.Argument(metavar="PROVIDER", help="The vendor whose reporter is played.")],
    url: Annotated[str, typer.Option("--url", metavar="BASE", help="Where to report: http[s]://HOST:PORT.")],
    ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Trust these CAs, in PEM form, and not the system's.")
    ] = None,
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
    points: Annotated[
        str | None, typer.Option("--points", metavar="FILE", help="Data points as JSON lines; - is standard input.")
    ] = None,
    timeout_s: Annotated[
        float, typer.Option("--timeout-s", min=0.01, metavar="SECONDS", help="Deadline of the report.")
    ] = 5,
    routes: SpecFolder = None,
    json: Json = False,
) -> None:
    """Play a vendor's reporter: send data points, print the outcome.

    Without --points, one made-up data point is sent. Exits 1 when the report is rejected.

    \b
    Example:
      gateway report acme --url http://127.0.0.1:8080 --key ID --secret env:KEY --points points.jsonl
    """
    base, stated = base_url(url, "--url"), read_given(given)
    credential = None if secret is None and key is None else read_credential(key, secret)
    played = provider_named(load_or_fail(routes, only=()), provider)
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
        made_up = DataPoint(
            "gateway.test", time.time_ns(), namespace="gateway", value=1, attributes={"reporter": "gateway"}
        )
        yield Item(0, None, made_up)
        return
    lines = [(number, text) for number, text in enumerate(read_file(path, "--points").splitlines(), 1) if text.strip()]
    if not lines:
        fail(f"--points: {path} has no data points")
    for index, (number, text) in enumerate(lines):
        yield Item(index, None, _point(text, f"{path}:{number}"))


def _point(text: bytes, place: str) -> DataPoint:
    try:
        text.decode("utf-8")
        fields = read_json(text)
    except UnicodeDecodeError:
        fail(f"--points: {place}: it is not UTF-8")
    except ValueError as error:
        fail(f"--points: {place}: it is not JSON: {error}")
    try:
        if not isinstance(fields, dict) or not isinstance(fields.get("metric"), str):
            raise ValueError('a data point is an object with a metric, such as {"metric": "load", "value": 1}')
        return read_point(fields, now_ns=time.time_ns())
    except ValueError as error:
        fail(f"--points: {place}: {error}")
