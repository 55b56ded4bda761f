"""The command line: the table of commands, and the exit code of each way in which a command ends.

A command's module is imported when the command runs, so `gateway --help` imports none of them.
"""

import errno
import io
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

from gateway import __version__
from gateway.commands.output.errors import UserError, WrongUsage, complain
from gateway.interrupts import exit_on_ctrl_c

# By name: module and function below gateway.commands, and the first line of the command's help.
COMMANDS = {
    "serve": ("serve:serve", "Run the gateway."),
    "check": ("check:check", "Print what is wrong with the specs, and run their cases."),
    "try": ("try_:try_", "Put a raw HTTP request through a route, and show each stage."),
    "eval": ("eval_:eval_", "Evaluate an expression over a file, and show each step."),
    "show": ("show:show", "Show a route, provider or recipe as the gateway understands it."),
    "schema": ("schema:schema", "Print the JSON Schema of specs."),
    "explain": ("recipes.explain:explain", "Show each step of a signature for one request, and the verdict."),
    "coverage": ("recipes.coverage:coverage", "Show what a signature scheme does not protect."),
    "matrix": ("matrix:matrix", "Show what each provider can store, and what is lost between two."),
    "sign": ("recipes.sign:sign_", "Print a request with its signature, ready to be sent."),
    "report": ("report:report", "Play a vendor's reporter: send data points, print the outcome."),
    "sink": ("sink:sink", "Play a vendor: verify reports, print data points as JSON lines."),
    "demo": ("demo:demo", "Run the gateway with a stand-in vendor, and a request to try."),
}
QUEUE_COMMANDS = {
    "list": ("queue.commands:list_", "List stored data points by their ids."),
    "show": ("queue.commands:show", "Show what is stored for each target, or one data point."),
    "retry": ("queue.commands:retry", "Make dead letters and postponed data points due."),
    "drop": ("queue.commands:drop", "Delete data points."),
}

SUCCESS, FIX_SOMETHING, WRONG_USAGE, OUR_BUG, INTERRUPTED = 0, 1, 2, 3, 130


class LazyGroup(TyperGroup):
    """A group whose commands are placeholders with their summary; the one that runs is imported."""

    table = COMMANDS

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        placeholders = {name: TyperCommand(name, help=summary) for name, (_, summary) in self.table.items()}
        self.commands = {**placeholders, **self.commands}

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, self._imported(name) if name in self.table else command, rest

    def _imported(self, name: str) -> Any:
        module, _, function = self.table[name][0].partition(":")
        with exit_on_ctrl_c():
            loaded = import_module(f"gateway.commands.{module}")
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(name)(getattr(loaded, function))
        return typer.main.get_command(alone)


class QueueGroup(LazyGroup):
    table = QUEUE_COMMANDS


def _print_help(context: typer.Context) -> None:
    """Print the help of a group that is called without a command."""
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(WRONG_USAGE)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"gateway {__version__}")
        raise typer.Exit(SUCCESS)


app = typer.Typer(cls=LazyGroup, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
queue = typer.Typer(cls=QueueGroup, rich_markup_mode=None)
queue.callback(invoke_without_command=True, help="List, show, retry or drop stored data points.")(_print_help)
app.add_typer(queue, name="queue")


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
    """Run the command line. Exits 0 on success, 1 when the user must fix something, 2 on wrong usage, 3 on a bug of
    the gateway, 130 on Ctrl-C."""
    _prepare_streams()
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(arguments, prog_name="gateway", standalone_mode=False)
        sys.stdout.flush()
    except (WrongUsage, TyperException) as error:
        text = (error.format_message() if isinstance(error, TyperException) else str(error)).removesuffix(".")
        complain(f"{text[:1].lower()}{text[1:]} (see: {_help_of(arguments)})")
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
    sys.exit(code if isinstance(code, int) else SUCCESS)


def _prepare_streams() -> None:
    """Write characters that the encoding lacks as escapes; discard the output of a closed stream."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  # open as long as the process
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115  # likewise
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _help_of(arguments: Sequence[str]) -> str:
    name, inner = [*arguments, "", ""][:2]
    if name == "queue":
        return f"gateway queue {inner} --help" if inner in QUEUE_COMMANDS else "gateway queue --help"
    return f"gateway {name} --help" if name in COMMANDS else "gateway --help"


def _unwritten(error: OSError) -> int:
    """Return the exit code when standard output is closed or its disk is full."""
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
