"""Options that several commands have, and how their texts are read."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from gateway.core.model import Request, Secret
from gateway.core.raw import length_warnings, read_raw

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
Key = Annotated[str | None, typer.Option("--key", help="The credential's id, where the scheme has one.")]
SecretOption = Annotated[
    str | None, typer.Option("--secret", metavar="SECRET", help="env:NAME or file:PATH; a bare secret warns.")
]
Given = Annotated[
    list[str] | None, typer.Option("--given", metavar="NAME=VALUE", help="A value that the spec needs; repeatable.")
]
At = Annotated[
    float | None, typer.Option("--at", metavar="EPOCH", help="The clock, in seconds since 1970; default: now.")
]

DEFAULT_ROUTES = Path("routes.d")


class UserError(Exception):
    """What the person must fix; its text is shown as it is. The exit code is 1."""


def fail(what: str) -> NoReturn:
    raise UserError(what)


def warn(what: str) -> None:
    print(f"warning: {what}", file=sys.stderr)


def read_secret(text: str | None) -> Secret:
    """Read `env:NAME`, `file:PATH` or a bare secret, which other users of the machine could see."""
    if text is None:
        fail("--secret is missing; write env:NAME or file:PATH")
    kind, colon, rest = text.partition(":")
    if colon and kind == "env":
        value = os.environ.get(rest)
        if not value:
            fail(f"--secret: the environment variable {rest} is not set")
        return Secret(value)
    if colon and kind == "file":
        try:
            return Secret(Path(rest).read_text(encoding="utf-8").removesuffix("\n"))
        except (OSError, UnicodeDecodeError) as error:
            fail(f"--secret: {rest} cannot be read: {_reason(error)}")
    warn("a bare --secret shows in the list of processes; write env:NAME or file:PATH")
    return Secret(text)


def read_given(pairs: Sequence[str] | None) -> dict[str, str]:
    """Read NAME=VALUE pairs."""
    given = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not equals or not name:
            fail(f"--given: {pair!r} is not NAME=VALUE")
        given[name] = value
    return given


def read_file(path: str, option: str) -> bytes:
    """Read a file, or standard input for `-`."""
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        fail(f"{option}: {path} cannot be read: {_reason(error)}")


def read_request(path: str) -> Request:
    """Read one raw request; what is odd about it is a warning."""
    try:
        request, oddities = read_raw(read_file(path, "--request"))
    except ValueError as error:
        fail(f"--request: {path}: {error}")
    for oddity in (*oddities, *length_warnings(request)):
        warn(f"--request: {path}: {oddity}")
    return request


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else "it is not UTF-8"
