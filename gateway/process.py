"""Runs a gateway as a process: the event loop, signals, a deadline for stopping, and memory settings."""

import asyncio
import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import structlog

from gateway.app import Gateway
from gateway.offload import share_interpreter

log = structlog.get_logger()

_M_MMAP_THRESHOLD = -3
# Time for stopping after the grace period. Kubernetes kills a process after 30 s, and the grace period is 25 s.
OVERTIME_S = 3.0
# Time for the log thread to write the last line.
LAST_LINE_S = 0.5


async def run_until_signal(gateway: Gateway, *, on_ready: Callable[[], None], overtime_s: float = OVERTIME_S) -> int:
    """Run a gateway until SIGTERM or SIGINT, and return the exit code. A second signal exits immediately.

    If stopping takes `overtime_s` longer than the grace period, the process exits. SIGHUP reloads the routes,
    if they can be reloaded.
    """
    await gateway.start()
    share_interpreter()
    _return_large_buffers()
    received = asyncio.get_running_loop().create_future()

    def on_signal(number: signal.Signals) -> None:
        if received.done():
            os._exit(128 + number)
        received.set_result(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal, number)
    if gateway.reloader is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, gateway.reload_on_signal)
    on_ready()
    number = await received
    log.info("stopping", signal=number.name)
    _end_within(gateway.grace_s + overtime_s)
    await gateway.stop()
    log.info("stopped")
    return 130 if number is signal.SIGINT else 0


def _return_large_buffers() -> None:
    """Make glibc return freed buffers of 32 KiB and more to the system, see mallopt(3). By default the threshold grows
    to 32 MiB, and the memory of many large bodies would stay in the process."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 32_768)


def _end_within(seconds: float) -> None:
    """Exit after that time, even if a thread is blocked, for example by a disk that hangs."""

    def end() -> None:
        log.error("stop_timed_out", seconds=seconds, hint="all acknowledged data points are on disk")
        time.sleep(LAST_LINE_S)
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run a coroutine on uvloop, or on asyncio's event loop if uvloop is not installed."""
    try:
        import uvloop
    except ImportError:
        log.warning("uvloop_not_installed", hint="the gateway is slower without it")
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
