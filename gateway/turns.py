"""Runs long work beside the event loop, so that short work never waits for long."""

import asyncio
import gc
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from gateway.core.steps import Steps, finish

T = TypeVar("T")

SLICE_S = 0.005
# Python's own 5 ms would delay a report by some 50 ms, as the loop waits for the interpreter after each call to the
# system.
SWITCH_S = 0.001


class Turns:
    """Work that takes longer than a slice, or says that it may, moves to a thread, where it waits for all such work.

    The thread shares the interpreter with the loop, which gets its turn after a switch interval at the latest.
    """

    def __init__(self, slice_s: float = SLICE_S) -> None:
        self._slice_s = slice_s
        self._thread = ThreadPoolExecutor(1, "long-work")

    async def take(self, steps: Steps[T]) -> T:
        """Run all steps, and return their result. Raises what they raise."""
        # CPU time: by wall-clock time, a short report that waits for the interpreter lock would be moved to the thread,
        # and wait there behind a long one.
        end = time.thread_time() + self._slice_s
        try:
            while not next(steps) and time.thread_time() < end:
                pass
        except StopIteration as finished:
            result: T = finished.value
            return result
        return await asyncio.get_running_loop().run_in_executor(self._thread, finish, steps)

    def close(self) -> None:
        """Accept no more work. Work that runs in the thread ends without being waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def share_interpreter() -> None:
    """Set up the process for long work in a thread: the loop gets the interpreter back fast, and collects less garbage.

    Call it once everything that lives as long as the process is loaded.
    """
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()
