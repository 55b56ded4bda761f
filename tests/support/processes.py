"""Commands of the gateway as processes, with pipes at both ends.

Importing the gateway takes longer than most of what tests do with it, so the processes are forks of one that has
imported it, see `template.py`. They are new Pythons where a test gives `python`.
"""

import asyncio
import atexit
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
START_S = 30.0


def accept_sigint() -> None:
    """Undo the SIG_IGN that a shell gives to what it runs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@cache
def template() -> socket.socket:
    """Start the process that forks, and return the socket that takes requests."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        arguments = [sys.executable, "-m", "tests.support.template", str(theirs.fileno())]
        process = subprocess.Popen(arguments, pass_fds=[theirs.fileno()], cwd=ROOT, stdin=subprocess.DEVNULL)

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


class Started:
    """A process that was started; `ended` gets its exit code."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        stdin: int,
        stdout: int,
        stderr: int,
        environ: Mapping[str, str],
        cwd: Path = ROOT,
        python: Sequence[str] = (),
    ) -> None:
        request = {"arguments": arguments, "environ": dict(environ), "cwd": str(cwd), "python": python}
        self.ended, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            descriptors = [theirs.fileno(), stdin, stdout, stderr]
            socket.send_fds(template(), [json.dumps(request).encode()], descriptors)
        self.pid = int(self.ended.recv(16))

    def wait(self) -> int:
        """Return the exit code once the process has ended."""
        with self.ended:
            self.ended.settimeout(START_S)
            return int(self.ended.recv(16))


class Command:
    """A command that runs. What it has logged so far is in `log`, one line an entry."""

    def __init__(self, started: Started) -> None:
        self.pid = started.pid
        self.log: list[str] = []
        self.code: int | None = None
        self._ended = started.ended
        self._ended.setblocking(False)

    async def connect(self, output: int, errors: int) -> None:
        """Read from the other ends of its standard streams."""
        self._output, self._output_pipe = await _reader(output)
        self._errors, self._errors_pipe = await _reader(errors)

    async def event(self, name: str) -> dict[str, Any]:
        """Read the log up to the event of that name."""
        async with asyncio.timeout(START_S):
            async for line in self._errors:
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
        async for line in self._errors:
            self.log.append(line.decode().rstrip("\n"))

    async def line(self) -> str:
        """Read one line of its standard output; fails where it has ended."""
        async with asyncio.timeout(START_S):
            raw = await self._output.readline()
        assert raw, self.log
        return raw.decode().rstrip("\n")

    def close_output(self) -> None:
        """Close the reading end of its standard output."""
        self._output_pipe.close()

    @contextmanager
    def unread(self) -> Iterator[None]:
        """Leave its log in the pipe meanwhile, which is full after 64 KiB."""
        self._errors_pipe.pause_reading()
        try:
            yield
        finally:
            self._errors_pipe.resume_reading()

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    async def gone(self) -> int:
        """Wait until it has ended, by itself or not, and return its exit code."""
        if self.code is None:
            async with asyncio.timeout(START_S):
                self.code = int(await asyncio.get_running_loop().sock_recv(self._ended, 16))
        return self.code

    async def end(self) -> tuple[int, str]:
        """Wait until it ends, and return its exit code and the rest of its standard output."""
        async with asyncio.timeout(START_S):
            output, rest = await asyncio.gather(self._output.read(), self._errors.read())
        self.log += rest.decode().removesuffix("\n").split("\n") if rest else []
        return await self.gone(), output.decode()

    async def kill(self) -> None:
        """End it if it runs, and close the pipes."""
        if self.code is None:
            with suppress(ProcessLookupError):
                self.signal(signal.SIGKILL)
            await self.gone()
        self._ended.close()
        self._output_pipe.close()
        self._errors_pipe.close()


async def _reader(descriptor: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    reader = asyncio.StreamReader(limit=16_777_216)  # of one line
    pipe = os.fdopen(descriptor, "rb", 0)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader, transport


@asynccontextmanager
async def command(
    *arguments: str,
    environ: Mapping[str, str] | None = None,
    python: Sequence[str] = (),
    cwd: Path = ROOT,
) -> AsyncIterator[Command]:
    """Run `gateway ARGUMENTS` without what the environment says of gateways, and kill it in the end."""
    ours = ("GATEWAY_", "ZSTACK_", "TENCENT_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    (output, stdout), (errors, stderr) = os.pipe(), os.pipe()
    with open(os.devnull, "rb") as nothing:
        streams = {"stdin": nothing.fileno(), "stdout": stdout, "stderr": stderr}
        started = Started(arguments, **streams, environ={**inherited, **(environ or {})}, cwd=cwd, python=python)
    os.close(stdout)
    os.close(stderr)
    running = Command(started)
    await running.connect(output, errors)
    try:
        yield running
    finally:
        await running.kill()
