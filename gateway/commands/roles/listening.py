"""Runs a gateway for a command, and reports in one line why it cannot listen."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.app import Gateway
from gateway.commands.output.errors import fail, misuse, system_text
from gateway.delivery.queue import CannotOpen
from gateway.process import run, run_until_signal
from gateway.tls import BadPem, Pair
from gateway.web.listener import parse_address


def check_address(address: str, option: str) -> None:
    try:
        parse_address(address)
    except ValueError as error:
        misuse(f"{option}: {error}")


def tls_pair(cert: Path | None, key: Path | None) -> Pair | None:
    """Return the files of --tls-cert and --tls-key; without either, the gateway listens in plain HTTP."""
    if cert is None and key is not None:
        misuse("--tls-key: its certificate is missing; give --tls-cert too")
    return None if cert is None else Pair(cert, key)


def run_or_fail(gateway: Gateway, *, on_ready: Callable[[], None], addresses: Sequence[str]) -> int:
    """Run it until a signal, and return the exit code.

    Raises UserError if an address, the queue's folder or the certificate cannot be used.
    """
    listening = False

    def ready() -> None:
        nonlocal listening
        listening = True
        on_ready()

    try:
        return run(run_until_signal(gateway, on_ready=ready))
    except BadPem as error:
        fail(f"--tls-{error.part}: {error}")
    except CannotOpen as error:
        fail(f"--data: {error}")
    except OSError as error:
        if listening:
            raise
        fail(f"cannot listen on {_failed_address(error, addresses)}: {system_text(error)}")


def _failed_address(error: OSError, addresses: Sequence[str]) -> str:
    """Return the address whose port the system's message has, such as ('127.0.0.1', 8080), else all of them."""
    ports = set(re.findall(r"', (\d+)[,)]", str(error))) - {"0"}
    named = [address for address in addresses if address.rpartition(":")[2] in ports]
    return " or ".join(dict.fromkeys(named or addresses))
