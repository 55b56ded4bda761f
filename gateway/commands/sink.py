"""gateway sink: play a vendor; what it takes is printed as JSON lines."""

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer

from gateway.app import Gateway, Settings
from gateway.commands.credentials import read_credential, serving
from gateway.commands.file_answer import Opened, read_answer
from gateway.commands.listening import check_address, run_or_fail, tls_pair
from gateway.commands.loading import check_given, load_or_fail, provider_named
from gateway.commands.options import Given, Key, SecretOption, SpecFolder, fail, misuse, read_given
from gateway.commands.printing import point_json, print_json
from gateway.core.accept import Accepted
from gateway.core.errors import GatewayError
from gateway.core.fold import fold
from gateway.core.outcome import CODE_OF, Code, Outcome, Reason
from gateway.core.provider import Provider
from gateway.core.recipe.keyring import Credential, make_keyring
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.verify import Check
from gateway.core.relay import Relayed
from gateway.core.route import Route
from gateway.core.snapshot import make_snapshot
from gateway.core.suggest import nearest
from gateway.logs import configure
from gateway.specs.cases import stand_in_route

log = structlog.get_logger()


def sink(
    provider: Annotated[str, typer.Argument(metavar="PROVIDER", help="The vendor that is played.")],
    listen: Annotated[str, typer.Option(metavar="ADDR", help="Where to listen; :0 takes a free port.")] = "127.0.0.1:0",
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Listen by https: certificate and chain, in PEM form.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The certificate's key, unless its file has it.")
    ] = None,
    key: Key = None,
    secret: SecretOption = None,
    given: Given = None,
    answer: Annotated[
        str | None, typer.Option("--answer", metavar="CODE", help="Refuse every report with this code or reason.")
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="FILE", help="What the calls of a relay are answered with.")
    ] = None,
    media_type: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Its media type; default: by the file's name.")
    ] = None,
    routes: SpecFolder = None,
) -> None:
    """Play a vendor: verify reports, print data points as JSON lines.

    Each report is answered in the vendor's words. Without --secret, whoever reports is believed. Of a relay's calls the
    body is printed, and the answer is --file, or empty.

    \b
    Example:
      gateway sink acme --listen 127.0.0.1:9000 --key ID --secret env:KEY
    """
    check_address(listen, "--listen")
    pair = tls_pair(tls_cert, tls_key)
    outcome, pins = _stated(answer), read_given(given)
    credential = None if secret is None and key is None else read_credential(key, secret)
    content = read_answer(file, media_type)
    configure("info", "auto")
    played = provider_named(load_or_fail(routes, only=()), provider)
    if file is not None and not played.relay:
        misuse(f"--file: {played.name} takes reports, and answers them in its own words")
    route = _route(played, credential, pins)

    async def deliver(route: Route, accepted: Accepted, request_id: str) -> Outcome:
        if outcome is not None:
            return outcome
        _print([point_json(item.point) for item in accepted.items])
        return fold(accepted, ())

    def exchange(route: Route, relayed: Relayed, request_id: str) -> AbstractAsyncContextManager[Opened]:
        if outcome is not None:
            raise GatewayError(outcome)
        _print([relayed.names["body"]])
        return content.open()

    settings = Settings(listen=listen, tls=pair, admin=None, grace_s=2)
    gateway = Gateway(make_snapshot([route]), settings, deliver=deliver, pass_on=exchange)

    def ready() -> None:
        log.info("listening", address=gateway.address, tls=pair is not None)

    raise typer.Exit(run_or_fail(gateway, on_ready=ready, addresses=[listen]))


def _route(provider: Provider, credential: Credential | None, given: dict[str, str]) -> Route:
    if provider.receive is None:
        fail(f"{provider.name} has no `receive`: it cannot be played")
    recipes, calls = provider.receive.verify, provider.receive.requests
    check_given(given, recipes, provider)
    if credential is not None:
        serving(recipes, credential, provider.name)
    stand_in = stand_in_route(provider)
    source = replace(
        stand_in.source,
        checks=_checks(recipes, credential, given),
        given={**provider.given, **given},
        also_checks={call.name: _checks(call.also.verify, credential, given) for call in calls if call.also},
    )
    return replace(stand_in, source=source, target=replace(stand_in.target, rules=()))


def _checks(
    recipes: Sequence[Recipe], credential: Credential | None, given: dict[str, str]
) -> tuple[Check, ...] | None:
    """Return what verifies a call; None, which believes whoever makes it, where there is nothing to hold it to."""
    if credential is None or not recipes:
        return None
    fitting = [recipe for recipe in recipes if recipe.needs_key == (credential.key is not None)]
    return tuple(Check(recipe, make_keyring([credential]), given) for recipe in fitting)


def _stated(answer: str | None) -> Outcome | None:
    word = (answer or Code.OK).upper()
    message = f"the sink was told to answer {word}"
    if word == Code.OK:
        return None
    if word in list(Reason):
        return Outcome(CODE_OF[Reason(word)], Reason(word), message)
    if word in list(Code):
        return Outcome(Code(word), None, message)
    misuse(f"--answer: {answer!r} is no code and no reason; {nearest(word, [*Code, *Reason])}")


def _print(values: Sequence[Any]) -> None:
    """Print JSON lines; where whoever read them has gone, end as on SIGTERM."""
    try:
        for value in values:
            print_json(value)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        signal.raise_signal(signal.SIGTERM)
