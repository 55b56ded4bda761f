"""Options that several commands have, and how their texts are read."""

import os
import sys
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from time import time_ns
from typing import Annotated, NoReturn

import typer

from gateway.commands.output.printing import printable
from gateway.core.http.request import Request
from gateway.core.http.text import length_warnings, read_raw

Routes = Annotated[
    Path, typer.Option("--routes", metavar="DIR", envvar="GATEWAY_ROUTES", help="Folder of routes and other specs.")
]
SpecFolder = Annotated[
    Path | None,
    typer.Option("--routes", metavar="DIR", envvar="GATEWAY_ROUTES", help="Folder of your own recipes and providers."),
]
Json = Annotated[bool, typer.Option("--json", help="Print data as JSON.")]
RequestFile = Annotated[
    str, typer.Option("--request", metavar="FILE", help="One raw HTTP request; - is standard input.")
]
Key = Annotated[str | None, typer.Option("--key", metavar="KEY", help="The credential's id, where the scheme has one.")]
SecretOption = Annotated[
    str | None, typer.Option("--secret", metavar="SECRET", help="env:NAME or file:PATH; a bare secret warns.")
]
Given = Annotated[
    list[str] | None, typer.Option("--given", metavar="NAME=VALUE", help="A value that the spec needs; repeatable.")
]
At = Annotated[
    str | None, typer.Option("--at", metavar="EPOCH", help="The clock, in seconds since 1970; default: now.")
]

DEFAULT_ROUTES = Path("routes.d")
STANDARD_INPUT = "-"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # what some editors of Windows put before a text
END_OF_TIME_S = 253_402_300_800  # the year 10000


class UserError(Exception):
    """What the person must fix; its text is shown as it is. The exit code is 1."""


class WrongUsage(UserError):
    """The command line itself is wrong, whatever it points to. The exit code is 2."""


def fail(what: str) -> NoReturn:
    raise UserError(what)


def misuse(what: str) -> NoReturn:
    raise WrongUsage(what)


def warn(what: str) -> None:
    print(f"warning: {printable(what)}", file=sys.stderr)


def complain(what: str) -> None:
    """Print the line with which a command ends that went wrong."""
    print(f"gateway: {printable(what)}", file=sys.stderr)


def read_clock(at: str | None) -> int:
    """Return the clock in nanoseconds since the epoch: as given, else now."""
    if at is None:
        return time_ns()
    try:
        seconds = Decimal(at)
        if seconds.is_nan():
            raise InvalidOperation
    except InvalidOperation:
        misuse(f"--at: {at!r} is not a number of seconds, such as 1700000000")
    if not 0 <= seconds < END_OF_TIME_S:
        misuse(f"--at: {at} is not between 0 and {END_OF_TIME_S}: it counts seconds since 1970")
    return int(seconds * 1_000_000_000)


def read_given(pairs: Sequence[str] | None) -> dict[str, str]:
    """Read NAME=VALUE pairs."""
    given: dict[str, str] = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not equals or not name:
            misuse(f"--given: {pair!r} is not NAME=VALUE")
        if name in given:
            misuse(f"--given: {name} is given twice")
        given[name] = value
    return given


def read_file(path: str, option: str) -> bytes:
    """Read a file, or standard input for `-`, without the mark that may stand before a text."""
    if path == STANDARD_INPUT and sys.stdin is None:
        fail(f"{option}: standard input is closed")
    try:
        data = sys.stdin.buffer.read() if path == STANDARD_INPUT else Path(path).read_bytes()
    except (OSError, ValueError) as error:
        fail(f"{option}: {path} cannot be read: {system_text(error)}")
    return data.removeprefix(BYTE_ORDER_MARK)


def read_request(path: str) -> Request:
    """Read one raw request; what is odd about it is a warning."""
    data = read_file(path, "--request")
    place = "standard input" if path == STANDARD_INPUT else path
    try:
        request, oddities = read_raw(data)
    except ValueError as error:
        fail(f"--request: {place}: {error}")
    for oddity in (*oddities, *length_warnings(request)):
        warn(f"--request: {place}: {oddity}")
    return request


def system_text(error: Exception) -> str:
    """Return what the system says, without the number and the path."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(error, OSError) and error.errno:
        # A negative number is one of getaddrinfo's own. The text of others may hold more than the system says.
        return (os.strerror(error.errno) if error.errno > 0 else error.strerror or str(error)).lower()
    return str(error)
