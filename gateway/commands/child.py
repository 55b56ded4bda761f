"""A command of ours in a process of its own, for `demo`. It ends when the block that runs it does, or we do."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Self

from gateway.commands.options import fail
from gateway.core.json import read_json

_START_S = 20
_END_S = 5
_MAX_LINE_BYTES = 16_777_216  # a data point of a report of 1 MiB, escaped


class Child:
    """What it prints as data and what it logs are read apart; both must be read, or it stops at a full pipe."""

    def __init__(self, name: str, arguments: Sequence[str], environ: Mapping[str, str]) -> None:
        self.name = name
        self.address = ""
        self._arguments = arguments
        self._environ = environ

    async def __aenter__(self) -> Self:
        """Start it, and wait until it listens. Raises UserError with its last words when it ends instead."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            # -P: a folder named gateway where the person stands is not the program.
            *("-P", "-m", "gateway.tied", *self._arguments),
            env=self._environ,
            stdin=asyncio.subprocess.PIPE,  # closed when this process ends, however it does
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_MAX_LINE_BYTES,
        )
        try:
            async with asyncio.timeout(_START_S):
                self.address = await self._listening()
        except TimeoutError:
            await self.__aexit__()
            fail(f"the {self.name} did not start within {_START_S} s")
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(_END_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _listening(self) -> str:
        last = ""
        async for text in self.log():
            entry = read_entry(text)
            if entry.get("event") == "listening":
                return str(entry["address"])
            last = text
        fail(last.removeprefix("gateway: ") or f"the {self.name} did not start")

    async def data(self) -> AsyncIterator[str]:
        async for text in _lines(self._process.stdout):
            yield text

    async def log(self) -> AsyncIterator[str]:
        """Yield what it logs, until it has ended."""
        async for text in _lines(self._process.stderr):
            yield text
        await self._process.wait()  # terminate() would take it from asyncio's own watcher, which warns


async def _lines(stream: asyncio.StreamReader | None) -> AsyncIterator[str]:
    assert stream is not None
    async for raw in stream:
        yield raw.decode("utf-8", "replace").rstrip("\n")


def read_entry(text: str) -> dict[str, Any]:
    """Return a line of a log in JSON; what is none, a traceback perhaps, is empty."""
    try:
        entry = read_json(text)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
