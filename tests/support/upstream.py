"""An upstream for tests: a TCP server on 127.0.0.1 that behaves as told, however rudely."""

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Self

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

NO_BODY = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


class Upstream:
    """Calls `behaviour` once for each request, after the whole request was read into `received`.

    With `at_once=True` it calls it once for each connection instead, before anything is read.
    """

    def __init__(
        self, behaviour: Behaviour, *, at_once: bool = False, port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.received: list[bytes] = []
        self.connections = 0
        self._behaviour = behaviour
        self._at_once = at_once
        self._port = port
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}"

    async def __aenter__(self) -> Self:
        # The system drops connects beyond the backlog, and repeats each after a second.
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, ssl=self._tls, backlog=1024)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Listen no more, and hang up."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            # That the client hangs up is no fault here; a cancelled server task would be logged by asyncio.
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._behave(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _behave(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._at_once:
            await self._behaviour(reader, writer)
            await writer.wait_closed()
        while not writer.is_closing():
            self.received.append(await read_request(reader))
            await self._behaviour(reader, writer)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """Return the next request as it came, its body counted by Content-Length."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return head + await reader.readexactly(int(length[1]) if length else 0)


def answers(status: int = 200, body: bytes = b"", headers: tuple[tuple[str, str], ...] = ()) -> Behaviour:
    """Answer each request alike, with the body's Content-Length, and keep the connection."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if status not in NO_BODY:
        lines.append(f"Content-Length: {len(body)}")
    raw = "\r\n".join([*lines, "", ""]).encode() + body
    return writes(raw)


def writes(raw: bytes) -> Behaviour:
    """Write these bytes and keep the connection."""

    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Behave once in each way, then for ever in the last."""
    left = list(behaviours)

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(reader, writer)

    return behave


async def resets(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send RST."""
    linger_for_0_s = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_for_0_s)
    writer.transport.abort()


async def nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close without an answer."""
    writer.close()


async def hangs(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Say nothing until the client hangs up."""
    await reader.read()


async def drips(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer a byte every 10 ms, for 10 s."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(1000):
        writer.write(b".")
        await writer.drain()
        await asyncio.sleep(0.01)


async def half_answers(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Announce 100 bytes, send 10, close."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789")
    writer.close()


async def garbage(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with what is not HTTP."""
    writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    await writer.drain()


async def giant(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer 20 MiB."""
    mebibyte = bytes(1_048_576)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (20 * len(mebibyte)))
    for _ in range(20):
        writer.write(mebibyte)
        await writer.drain()


def free_port() -> int:
    """Return a port where nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
