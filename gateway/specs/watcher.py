"""Tells that the files of specs are no longer those that were loaded.

What counts is how the files look, not what an event says of them: mounts of containers and networks report no events,
nor does a folder that is no longer there, nor the target of a symlink. Events only make the next look come at once.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from pathlib import Path

import structlog
from watchfiles import awatch
from watchfiles.main import FileChange

from gateway.specs.files import spec_files
from gateway.stamps import Files, stamp

LOOK_EVERY_S = 1.0
# A file that is still being written looks different after this long.
QUIET_S = 0.1
MAX_LOOKS = 20
log = structlog.get_logger()


def look(folder: Path, named: Iterable[Path]) -> Files:
    """Return how the files of a folder's specs look now, and those that the specs name."""
    try:
        found = spec_files(folder)
    except OSError:
        found = []
    return {path: stamp(path) for path in (*found, *named)}


async def settle(folder: Path, named: Iterable[Path]) -> Files:
    """Wait until nothing changes for a moment, two seconds at most, and return how the files look then."""
    seen = await asyncio.to_thread(look, folder, named)
    for _ in range(MAX_LOOKS):
        await asyncio.sleep(QUIET_S)
        before, seen = seen, await asyncio.to_thread(look, folder, named)
        if seen == before:
            break
    return seen


async def ticks(folder: Path) -> AsyncIterator[None]:
    """Yield when something happens in the folder, and once a second, for ever, whether the folder is there or not."""
    told = ""
    while True:
        watched = _identity(folder)
        try:
            async with aclosing(_events(folder)) as events:
                async for _ in events:
                    yield
                    if _identity(folder) != watched:
                        break
        except FileNotFoundError:
            pass
        except (OSError, RuntimeError) as error:  # RuntimeError: those of watchfiles' own
            if str(error) != told:
                told = str(error)
                log.warning("no events of the folder: it is looked at once a second", folder=str(folder), problem=told)
        yield
        await asyncio.sleep(LOOK_EVERY_S)


def _events(folder: Path) -> AsyncGenerator[set[FileChange], None]:
    """Return what happens in the folder as it is now; one that takes its place is another."""
    every_ms = int(LOOK_EVERY_S * 1000)
    return awatch(folder, watch_filter=None, step=50, debounce=every_ms, rust_timeout=every_ms, yield_on_timeout=True)


def _identity(folder: Path) -> tuple[int, ...]:
    return (stamp(folder) or ())[:2]
