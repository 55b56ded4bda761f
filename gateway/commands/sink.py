"""gateway sink: play a vendor, and print the data points that it receives as JSON lines."""

import os
import signal
import sys
from collections.abc import Sequence
from mimetypes import guess_type
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer

from gateway.app import Gateway, Settings
from gateway.commands.arguments import options
from gateway.commands.arguments.loading import load_or_fail, named
from gateway.commands.arguments.options import Given, Key, SecretOption, SpecFolder, option
from gateway.commands.output.errors import misuse
from gateway.commands.output.printing import print_json
from gateway.commands.roles.listening import check_address, run_or_fail, tls_pair
from gateway.commands.roles.vendor import Vendor, vendor_route
from gateway.core.http.request import Headers
from gateway.core.outcome.outcome import Code, Outcome, Reason
from gateway.core.text import did_you_mean
from gateway.core.vendor.routing import make_snapshot
from gateway.logs import configure

log = structlog.get_logger()


def sink(
    provider: Annotated[str, typer.Argument(metavar="PROVIDER", help="The vendor that is played.")],
    listen: Annotated[str, option("ADDR", "Where to listen; :0 takes a free port.")] = "127.0.0.1:0",
    tls_cert: Annotated[Path | None, option("FILE", "Listen by https: certificate and chain, in PEM form.")] = None,
    tls_key: Annotated[Path | None, option("FILE", "The certificate's key, unless its file has it.")] = None,
    key: Key = None,
    secret: SecretOption = None,
    given: Given = None,
    answer: Annotated[str | None, option("CODE", "Reject every report with this code or reason.")] = None,
    file: Annotated[
        str | None, option("FILE", "The body of each answer to a relay's call, of the type of the file's name.")
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
    rejection, pins = rejection_of(answer), options.read_given(given)
    credential = options.optional_credential(key, secret)
    content = b""
    headers: Headers = ()
    if file is not None:
        content = options.read_file(file, "--file")
        headers = (("Content-Type", guess_type(file)[0] or "application/octet-stream"),)
    configure("info", "auto")
    played = named("provider", provider, load_or_fail(routes, only=()).providers)
    if file is not None and not played.relay:
        misuse(f"--file: {played.name} is no relay: its reply to a report is in its spec")
    route = vendor_route(played, credential, pins)
    settings = Settings(listen=listen, tls=pair, admin=None, grace_s=2)
    vendor = Vendor(_print, rejection, content, headers)
    gateway = Gateway(make_snapshot([route]), settings, delivery=vendor)

    def ready() -> None:
        log.info("listening", address=gateway.address, tls=pair is not None)

    raise typer.Exit(run_or_fail(gateway, on_ready=ready, addresses=[listen]))


def rejection_of(answer: str | None) -> Outcome | None:
    """Return the outcome of every report by --answer, None if reports are accepted."""
    word = (answer or Code.OK).upper()
    message = f"the sink answers {word} to every report"
    if word == Code.OK:
        return None
    if word in list(Reason):
        return Outcome(Reason(word).code, Reason(word), message)
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
