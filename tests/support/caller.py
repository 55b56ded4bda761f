"""A caller for tests: a connection on which bytes are written and replies are read."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

LONG_S = 5.0


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply as it came; the names of its headers are in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the header's value, the values of a repeated one joined by a comma."""
        values = [value for each, value in self.headers if each == name]
        return ", ".join(values) if values else None

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Caller:
    """A connection on which a test writes and reads bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, text: str | bytes) -> None:
        self.writer.write(text.encode() if isinstance(text, str) else text)

    async def head(self) -> str:
        async with asyncio.timeout(LONG_S):
            return (await self.reader.readuntil(b"\r\n\r\n")).decode("utf-8", "surrogateescape")

    async def reply(self) -> tuple[str, bytes]:
        """Read one reply by its Content-Length."""
        head = await self.head()
        length = int(head.partition("Content-Length: ")[2].partition("\r\n")[0] or 0)
        async with asyncio.timeout(LONG_S):
            return head, await self.reader.readexactly(length)

    async def parsed(self) -> Reply:
        """Read one reply, as `reply` does."""
        head, body = await self.reply()
        first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        pairs = [line.partition(": ") for line in lines]
        return Reply(int(first.split(" ")[1]), tuple((name.lower(), value) for name, _, value in pairs), body)

    async def rest(self) -> bytes:
        """Read until the server hangs up."""
        async with asyncio.timeout(LONG_S):
            return await self.reader.read()


@asynccontextmanager
async def call(address: str, tls: ssl.SSLContext | None = None, *, source: str | None = None) -> AsyncIterator[Caller]:
    """Connect to `host:port`, over TLS where a context is given, from the address `source`."""
    host, _, port = address.rpartition(":")
    local = (source, 0) if source else None
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), limit=2**20, ssl=tls, local_addr=local)
    try:
        yield Caller(reader, writer)
    finally:
        writer.close()


def hold(address: str, tls: ssl.SSLContext) -> ssl.SSLSocket:
    """Connect over TLS as a program does that keeps its connection and reads nothing. It blocks: run it in a thread."""
    host, _, port = address.rpartition(":")
    return tls.wrap_socket(socket.create_connection((host, int(port))), server_hostname=host)


async def exchange(address: str, raw: bytes, tls: ssl.SSLContext | None = None) -> Reply:
    """Send one request on a connection of its own, and read its reply."""
    async with call(address, tls) as caller:
        caller.send(raw)
        return await caller.parsed()
