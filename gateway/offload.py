"""Runs long work in a thread, so that short work on the event loop does not wait for it."""

import asyncio
import gc
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from gateway.core.steps import Steps, finish

T = TypeVar("T")

SLICE_S = 0.005
# The default of 5 ms would delay a report by about 50 ms: the loop waits for the interpreter after each system call.
SWITCH_S = 0.001
# Objects that are created before young ones are checked for cycles; the default of 700 is reached every few reports.
COLLECT_AFTER = 10_000


class Offloader:
    """Runs work in steps. Work that exceeds two time slices, or announces that it will, moves to one thread for all
    such work. The thread shares the interpreter with the loop, which gets it back after a switch interval."""

    def __init__(self, slice_s: float = SLICE_S) -> None:
        self._slice_s = slice_s
        self._thread = ThreadPoolExecutor(1, "long-work")

    async def run(self, steps: Steps[T]) -> T:
        """Run all steps, and return their result. Raises what they raise."""
        # CPU time: by wall-clock time, a short report that waits for the interpreter lock would move to the thread,
        # and wait there behind a long one. Reading it takes long, so it is not read in the first time slice.
        early, end = time.perf_counter() + self._slice_s, 0.0
        try:
            while not next(steps):
                if time.perf_counter() < early:
                    continue
                now = time.thread_time()
                end = end or now + self._slice_s
                if now >= end:
                    break
        except StopIteration as finished:
            result: T = finished.value
            return result
        return await asyncio.get_running_loop().run_in_executor(self._thread, finish, steps)

    def close(self) -> None:
        """Accept no more work. Does not wait for work in the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def share_interpreter() -> None:
    """Prepare the process for long work in a thread: switch threads often, and keep long-lived objects out of garbage
    collection. Call it when everything that lives as long as the process is loaded."""
    sys.setswitchinterval(SWITCH_S)
    gc.set_threshold(COLLECT_AFTER)
    gc.collect()
    gc.freeze()
