"""Commands of the gateway as processes of their own, with pipes at both ends."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
START_S = 30.0


def accept_sigint() -> None:
    """Undo the SIG_IGN that a shell gives to what it runs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Command:
    """A command that runs. What it has logged so far is in `log`, one line an entry."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.log: list[str] = []

    @property
    def pid(self) -> int:
        return self._process.pid

    async def event(self, name: str) -> dict[str, Any]:
        """Read the log up to the event of that name."""
        assert self._process.stderr is not None
        async with asyncio.timeout(START_S):
            async for line in self._process.stderr:
                self.log.append(line.decode().rstrip("\n"))
                entry = json.loads(line) if line.startswith(b"{") else {}
                if entry.get("event") == name:
                    return dict(entry)
        raise AssertionError("\n".join(["it has ended:", *self.log]))

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Read the log meanwhile: a command that logs much would wait for its reader."""
        reading = asyncio.get_running_loop().create_task(self._follow())
        try:
            yield
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    async def _follow(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self.log.append(line.decode().rstrip("\n"))

    async def line(self) -> str:
        """Read one line of its standard output; fails where it has ended."""
        assert self._process.stdout is not None
        async with asyncio.timeout(START_S):
            raw = await self._process.stdout.readline()
        assert raw, self.log
        return raw.decode().rstrip("\n")

    def close_output(self) -> None:
        """Close the reading end of its standard output."""
        transport = self._process._transport.get_pipe_transport(1)  # type: ignore[attr-defined]
        transport.close()

    @contextmanager
    def unread(self) -> Iterator[None]:
        """Leave its log in the pipe meanwhile, which is full after 64 KiB."""
        transport = self._process._transport.get_pipe_transport(2)  # type: ignore[attr-defined]
        transport.pause_reading()
        try:
            yield
        finally:
            transport.resume_reading()

    def signal(self, number: int) -> None:
        # Not `send_signal`: it reaps a process that has ended, and asyncio then knows no exit code.
        os.kill(self._process.pid, number)

    async def gone(self) -> int:
        """Wait until it has ended, by itself or not, and return its exit code."""
        async with asyncio.timeout(START_S):
            return await self._process.wait()

    async def end(self) -> tuple[int, str]:
        """Wait until it ends, and return its exit code and the rest of its standard output."""
        async with asyncio.timeout(START_S):
            output, rest = await self._process.communicate()
        self.log += rest.decode().removesuffix("\n").split("\n") if rest else []
        assert self._process.returncode is not None
        return self._process.returncode, output.decode()


@asynccontextmanager
async def command(
    *arguments: str,
    environ: Mapping[str, str] | None = None,
    python: Sequence[str] = (sys.executable,),
    cwd: Path = ROOT,
) -> AsyncIterator[Command]:
    """Run `gateway ARGUMENTS` without what the environment says of gateways, and kill it in the end."""
    ours = ("GATEWAY_", "ZSTACK_", "TENCENT_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    process = await asyncio.create_subprocess_exec(
        *(*python, "-m", "gateway", *arguments),
        cwd=cwd,
        env={**inherited, **(environ or {})},
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        limit=16_777_216,  # of one line
        preexec_fn=accept_sigint,
    )
    try:
        yield Command(process)
    finally:
        if process.returncode is None:
            os.kill(process.pid, signal.SIGKILL)
        await process.communicate()
