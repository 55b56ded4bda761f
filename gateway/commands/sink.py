"""gateway sink: play a vendor, and print the data points that it receives as JSON lines."""

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from mimetypes import guess_type
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer

from gateway.app import Settings
from gateway.commands.arguments.credentials import read_credential
from gateway.commands.arguments.loading import load_or_fail, provider_named
from gateway.commands.arguments.options import Given, Key, SecretOption, SpecFolder, read_file, read_given
from gateway.commands.output.errors import fail, misuse
from gateway.commands.output.printing import print_json
from gateway.commands.roles.listening import check_address, run_or_fail, tls_pair
from gateway.commands.roles.vendor import play_vendor, vendor_route
from gateway.core.outcome.outcome import CODE_OF, Code, Outcome, Reason
from gateway.core.points.rules import Rule
from gateway.core.text import did_you_mean
from gateway.core.vendor.provider import Provider
from gateway.logs import configure
from gateway.specs.load import Specs

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
        str | None, typer.Option("--answer", metavar="CODE", help="Reject every report with this code or reason.")
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="FILE", help="The body of each answer to a relay's call.")
    ] = None,
    media_type: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Its media type; default: by the file's name.")
    ] = None,
    rules_of: Annotated[
        str | None, typer.Option("--rules-of", metavar="ROUTE", help="Apply the rules by which this route sends.")
    ] = None,
    routes: SpecFolder = None,
) -> None:
    """Play a vendor: verify reports, print data points as JSON lines.

    Each report gets the vendor's reply. Without --secret, every sender is accepted. For a relay, the body of each call
    is printed, and the answer is --file, or empty.

    \b
    Example:
      gateway sink acme --listen 127.0.0.1:9000 --key ID --secret env:KEY
    """
    check_address(listen, "--listen")
    pair = tls_pair(tls_cert, tls_key)
    rejection, pins = rejection_of(answer), read_given(given)
    credential = None if secret is None and key is None else read_credential(key, secret)
    if file is None and media_type is not None:
        misuse("--type is the media type of --file: give --file")
    content = b"" if file is None else read_file(file, "--file")
    if file is not None and media_type is None:
        media_type = guess_type(file)[0] or "application/octet-stream"
    configure("info", "auto")
    if rules_of is not None and routes is None:
        misuse("--rules-of: name the folder of the route by --routes")
    specs = load_or_fail(routes, only=() if rules_of is None else (rules_of,), strict_environment=False)
    played = provider_named(specs, provider)
    if file is not None and not played.relay:
        misuse(f"--file: {played.name} is no relay: its reply to a report is in its spec")
    route = vendor_route(played, credential, pins)
    if rules_of is not None:
        route = replace(route, source=replace(route.source, rules=_rules(specs, rules_of, played)))
    settings = Settings(listen=listen, tls=pair, admin=None, grace_s=2)
    gateway = play_vendor(route, settings, _print, rejection=rejection, content=content, media_type=media_type)

    def ready() -> None:
        log.info("listening", address=gateway.address, tls=pair is not None)

    raise typer.Exit(run_or_fail(gateway, on_ready=ready, addresses=[listen]))


def _rules(specs: Specs, name: str, played: Provider) -> tuple[Rule, ...]:
    if name not in specs.routes:
        fail(f"--rules-of: {name} cannot be built without its variables")
    target = specs.routes[name].target
    if target.provider is not played:
        misuse(f"--rules-of: {name} does not send to {played.name}, but to {target.provider.name}")
    return target.rules


def rejection_of(answer: str | None) -> Outcome | None:
    """Return the outcome of every report by --answer, None if reports are accepted."""
    word = (answer or Code.OK).upper()
    message = f"the sink answers {word} to every report"
    if word == Code.OK:
        return None
    if word in list(Reason):
        return Outcome(CODE_OF[Reason(word)], Reason(word), message)
    if word in list(Code):
        return Outcome(Code(word), None, message)
    misuse(f"--answer: {answer!r} is no code and no reason; {did_you_mean(word, [*Code, *Reason])}")


def _print(values: Sequence[Any]) -> None:
    """Print JSON lines. If standard output is closed, end as on SIGTERM."""
    try:
        for value in values:
            print_json(value)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        signal.raise_signal(signal.SIGTERM)
