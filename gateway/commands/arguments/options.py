"""Options that several commands share, and the readers of their values."""

import os
import sys
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from time import time_ns
from typing import Annotated, Any

import typer

from gateway.commands.output.errors import fail, misuse, system_text, warn
from gateway.core.http.request import PublicUrl, Request, Secret
from gateway.core.http.text import length_warnings, parse_request
from gateway.core.http.url import split_url
from gateway.core.recipe.keyring import Credential


def option(metavar: str, text: str, **more: Any) -> Any:
    """Declare an option that has a value."""
    return typer.Option(metavar=metavar, help=text, **more)


def setting(variable: str, metavar: str, text: str, **more: Any) -> Any:
    """Declare an option that can be set by an environment variable, GATEWAY_ and this name."""
    return option(metavar, text, envvar=f"GATEWAY_{variable}", **more)


Routes = Annotated[Path, setting("ROUTES", "DIR", "Folder of routes and other specs.")]
SpecFolder = Annotated[Path | None, setting("ROUTES", "DIR", "Folder with further recipes and providers.")]
Json = Annotated[bool, typer.Option("--json", help="Print data as JSON.")]
RequestFile = Annotated[str, option("FILE", "One raw HTTP request; - is standard input.")]
Key = Annotated[str | None, option("KEY", "The credential's id, where the scheme has one.")]
SecretOption = Annotated[str | None, option("SECRET", "env:NAME or file:PATH; a bare secret warns.")]
Given = Annotated[list[str] | None, option("NAME=VALUE", "A value that the spec needs; repeatable.")]
At = Annotated[str | None, option("EPOCH", "The clock, in seconds since 1970; default: now.")]

ADMIN_TOKEN = "GATEWAY_ADMIN_TOKEN"
DEFAULT_ROUTES = Path("routes.d")
STANDARD_INPUT = "-"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # some editors on Windows write it before a text
END_OF_TIME_S = 253_402_300_800  # the year 10000


def read_clock(at: str | None) -> int:
    """Return --at in nanoseconds since the epoch; without it, the current time."""
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


def base_url(url: str, option: str) -> PublicUrl:
    """Read a base URL from an option."""
    try:
        return split_url(url)
    except ValueError as error:
        misuse(f"{option}: {url!r}: {error}")


def read_file(path: str, option: str) -> bytes:
    """Read a file, or standard input for `-`, without a leading byte order mark."""
    if path == STANDARD_INPUT and sys.stdin is None:
        fail(f"{option}: standard input is closed")
    try:
        data = sys.stdin.buffer.read() if path == STANDARD_INPUT else Path(path).read_bytes()
    except (OSError, ValueError) as error:
        fail(f"{option}: {path} cannot be read: {system_text(error)}")
    return data.removeprefix(BYTE_ORDER_MARK)


def read_request(path: str) -> Request:
    """Read one raw request, and warn about its oddities."""
    data = read_file(path, "--request")
    place = "standard input" if path == STANDARD_INPUT else path
    try:
        request, oddities = parse_request(data)
    except ValueError as error:
        fail(f"--request: {place}: {error}")
    for oddity in (*oddities, *length_warnings(request)):
        warn(f"--request: {place}: {oddity}")
    return request


def read_credential(key: str | None, secret: str | None) -> Credential:
    """Read --key and --secret."""
    if secret is None:
        misuse("--secret is missing; write env:NAME or file:PATH")
    if key == "":
        misuse("--key is empty")
    return Credential(read_secret(secret, "--secret"), key)


def optional_credential(key: str | None, secret: str | None) -> Credential | None:
    return None if secret is None and key is None else read_credential(key, secret)


def read_secret(text: str, option: str, *, shown: bool = True) -> Secret:
    """Read `env:NAME`, `file:PATH` or a bare secret. If other users can see the latter (`shown`), warn."""
    kind, colon, name = text.partition(":")
    if not colon or kind not in ("env", "file"):
        if not text:
            misuse(f"{option} is empty")
        if shown:
            warn(f"a bare {option} shows in the list of processes; write env:NAME or file:PATH")
        return Secret(text)
    try:
        value = os.environ.get(name) if kind == "env" else Path(name).read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, ValueError) as error:
        fail(f"{option}: {name} cannot be read: {system_text(error)}")
    if not value:
        fail(f"{option}: {name} is empty" if value == "" else f"{option}: the environment variable {name!r} is not set")
    return Secret(value)


def read_admin_token(text: str) -> Secret:
    """Read --admin-token. The list of processes does not show a bare one from the environment."""
    return read_secret(text, "--admin-token", shown=os.environ.get(ADMIN_TOKEN) != text)
