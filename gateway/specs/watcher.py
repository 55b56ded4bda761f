"""Detects that the files of specs differ from those that were loaded.

Changes are found by comparing fingerprints of the files. Events are not sufficient: mounts of containers and networks,
removed folders and targets of symlinks report none. An event only starts the next look immediately. Without events,
looks at many files are less frequent, and use at most 1 % of a core.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from pathlib import Path

import structlog
from watchfiles import awatch

from gateway.files import Fingerprints, fingerprint
from gateway.specs.files import spec_files

LOOK_EVERY_S = 1.0
# Without events, the wait after a look is its duration times this factor, and at most LONGEST_WAIT_S.
WAIT_PER_LOOK = 100
LONGEST_WAIT_S = 60.0
# The fingerprint of a file that is still being written differs after this time.
QUIET_S = 0.1
MAX_LOOKS = 20
log = structlog.get_logger()


def look(folder: Path, named: Iterable[Path]) -> Fingerprints:
    """Return the fingerprints of a folder's specs and of the files that the specs name."""
    try:
        found = spec_files(folder)
    except OSError:
        found = []
    return {path: fingerprint(path) for path in (*found, *named)}


async def settle(folder: Path, named: Iterable[Path]) -> Fingerprints:
    """Wait until the files stay unchanged for QUIET_S, at most two seconds, and return their fingerprints."""
    seen = await asyncio.to_thread(look, folder, named)
    for _ in range(MAX_LOOKS):
        await asyncio.sleep(QUIET_S)
        before, seen = seen, await asyncio.to_thread(look, folder, named)
        if seen == before:
            break
    return seen


async def changes(
    folder: Path, seen: Callable[[], Fingerprints], *, wait_per_look: float = WAIT_PER_LOOK
) -> AsyncGenerator[None, None]:
    """Yield each time that the fingerprints of the files differ from `seen`; never end."""
    due_s = 0.0
    async for has_event in _ticks(folder):
        started_s = time.monotonic()
        if has_event or started_s >= due_s:
            found = await asyncio.to_thread(look, folder, seen())
            due_s = next_look_s(started_s, time.monotonic(), wait_per_look)
            if found != seen():
                yield


def next_look_s(started_s: float, ended_s: float, wait_per_look: float) -> float:
    """Return when to look next without an event."""
    return ended_s + min(wait_per_look * (ended_s - started_s), LONGEST_WAIT_S)


async def _ticks(folder: Path) -> AsyncIterator[bool]:
    """Yield True for an event in the folder, and False once a second, even if the folder does not exist."""
    reported, every_ms = "", int(LOOK_EVERY_S * 1000)
    while True:
        watched = _identity(folder)
        events = awatch(
            folder, watch_filter=None, step=50, debounce=every_ms, rust_timeout=every_ms, yield_on_timeout=True
        )
        try:
            async with aclosing(events):
                async for happened in events:
                    # Events are those of the folder that was opened, not of one that replaces it.
                    is_another = _identity(folder) != watched
                    yield bool(happened) or is_another
                    if is_another:
                        break
        except FileNotFoundError:
            pass
        except (OSError, RuntimeError) as error:  # RuntimeError: raised by watchfiles
            if str(error) != reported:
                reported = str(error)
                log.warning("folder_events_unavailable", folder=str(folder), error=reported)
        yield False
        await asyncio.sleep(LOOK_EVERY_S)


def _identity(folder: Path) -> tuple[int, ...]:
    return (fingerprint(folder) or ())[:2]
