"""The command line: the commands, and the one door through which every one of them ends."""

import sys
import traceback
from collections.abc import Callable
from typing import Annotated

import typer
from typer.exceptions import TyperException

from gateway import __version__
from gateway.commands.check import check
from gateway.commands.demo import demo
from gateway.commands.explain import explain
from gateway.commands.options import UserError
from gateway.commands.report import report
from gateway.commands.serve import serve
from gateway.commands.sign import sign_
from gateway.commands.sink import sink
from gateway.commands.try_ import try_

COMMANDS: dict[str, Callable[..., None]] = {
    "serve": serve,
    "check": check,
    "try": try_,
    "explain": explain,
    "sign": sign_,
    "report": report,
    "sink": sink,
    "demo": demo,
}

FINE, FIX_SOMETHING, WRONG_USAGE, OUR_BUG, INTERRUPTED = 0, 1, 2, 3, 130

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
for name, command in COMMANDS.items():
    app.command(name)(command)


@app.callback()
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Take metric reports written for one cloud vendor, and deliver them to another."""
    if version:
        print(f"gateway {__version__}")
        raise typer.Exit(FINE)


def main() -> None:
    """Run the command line. Exits 0 when all is well, 1 when the person must fix something, 2 on wrong usage, 3 on a
    bug of ours, 130 when interrupted."""
    try:
        code = app(standalone_mode=False)
    except UserError as error:
        print(f"gateway: {error}", file=sys.stderr)
        code = FIX_SOMETHING
    except TyperException as error:
        print(f"gateway: {error.format_message()} (see: gateway --help)", file=sys.stderr)
        code = WRONG_USAGE
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception:
        traceback.print_exc()
        print("gateway: this is a bug of the gateway; please report it with the lines above", file=sys.stderr)
        code = OUR_BUG
    sys.exit(code if isinstance(code, int) else FINE)
