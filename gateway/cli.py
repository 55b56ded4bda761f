"""The command line: the commands, and the one door through which every one of them ends."""

import errno
import io
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

from gateway import __version__
from gateway.commands.arguments.options import UserError, WrongUsage, complain
from gateway.commands.check import check
from gateway.commands.coverage import coverage
from gateway.commands.demo import demo
from gateway.commands.explain import explain
from gateway.commands.matrix import matrix
from gateway.commands.queue import drop, list_, retry
from gateway.commands.queue import show as show_queue
from gateway.commands.report import report
from gateway.commands.serve import serve
from gateway.commands.show import show
from gateway.commands.sign import sign_
from gateway.commands.sink import sink
from gateway.commands.try_ import try_

COMMANDS: dict[str, Callable[..., None]] = {
    "serve": serve,
    "check": check,
    "try": try_,
    "show": show,
    "explain": explain,
    "coverage": coverage,
    "matrix": matrix,
    "sign": sign_,
    "report": report,
    "sink": sink,
    "demo": demo,
}
GROUPS: dict[str, dict[str, Callable[..., None]]] = {
    "queue": {"list": list_, "show": show_queue, "retry": retry, "drop": drop},
}
# What the help says of a group.
ABOUT = {"queue": "See, retry or drop stored data points."}

FINE, FIX_SOMETHING, WRONG_USAGE, OUR_BUG, INTERRUPTED = 0, 1, 2, 3, 130


def _print_help(context: typer.Context) -> None:
    """Print the help of whatever was named without a command of its own."""
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(WRONG_USAGE)


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
for name, command in COMMANDS.items():
    app.command(name)(command)
for group, commands in GROUPS.items():
    inner = typer.Typer(rich_markup_mode=None)
    for name, command in commands.items():
        inner.command(name)(command)
    inner.callback(invoke_without_command=True, help=ABOUT[group])(_print_help)
    app.add_typer(inner, name=group)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"gateway {__version__}")
        raise typer.Exit(FINE)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take metric reports written for one cloud vendor, and deliver them to another.

    \b
    Example:
      gateway demo
    """
    _print_help(context)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exits 0 when all is well, 1 when the person must fix something, 2 on wrong usage, 3 on a
    bug of ours, 130 when interrupted."""
    _prepare_streams()
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(arguments, prog_name="gateway", standalone_mode=False)
        sys.stdout.flush()
    except (WrongUsage, TyperException) as error:
        complain(f"{_usage_text(error)} (see: {_help_of(arguments)})")
        code = WRONG_USAGE
    except UserError as error:
        complain(str(error))
        code = FIX_SOMETHING
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except OSError as error:
        code = _unwritten(error)
    except Exception:
        code = _bug()
    sys.exit(code if isinstance(code, int) else FINE)


def _prepare_streams() -> None:
    """What a stream's encoding lacks is written as an escape; a closed one swallows all that is written."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  # open as long as the process
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115  # likewise
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _usage_text(error: WrongUsage | TyperException) -> str:
    text = (error.format_message() if isinstance(error, TyperException) else str(error)).removesuffix(".")
    return text[:1].lower() + text[1:]


def _help_of(arguments: Sequence[str]) -> str:
    name, inner = [*arguments, "", ""][:2]
    if name in GROUPS:
        return f"gateway {name} {inner} --help" if inner in GROUPS[name] else f"gateway {name} --help"
    return f"gateway {name} --help" if name in COMMANDS else "gateway --help"


def _unwritten(error: OSError) -> int:
    """End where standard output takes no more: its reader has gone, or the disk is full."""
    if error.errno not in (errno.EPIPE, errno.ENOSPC):
        return _bug()
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.ENOSPC:
        complain("standard output cannot be written: no space left on device")
    return FIX_SOMETHING


def _bug() -> int:
    traceback.print_exc()
    complain("this is a bug of the gateway; please report it with the lines above")
    return OUR_BUG
