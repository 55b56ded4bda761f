"""A reply whose body is written while it arrives: its framing, and an end that tells the caller that it is whole."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from gateway.core.http.request import Headers
from gateway.web.protocol import CallerGone, Connection
from gateway.web.wire import has_length, to_wire_head

Write = Callable[[bytes], Awaitable[None]]


class Outgoing:
    """The reply to one request. `stays` tells whether the connection is good for another request after it."""

    __slots__ = ("_connection", "_request", "stays")

    def __init__(self, request: web.BaseRequest, connection: Connection) -> None:
        self._request = request
        self._connection = connection
        self.stays = False

    @asynccontextmanager
    async def stream(self, status: int, headers: Headers, length: int | None) -> AsyncIterator[Write]:
        """Write the head of a reply, and give what writes its body; no more is taken than the caller has read.

        What is left by an exception is cut off, so that the caller cannot take it for whole. Raises CallerGone; and
        ValueError for a control character in a header, before anything is written.
        """
        connection, has_body = self._connection, has_length(status) and self._request.method != "HEAD"
        is_new = self._request.version >= (1, 1)
        chunked = has_body and length is None and is_new
        framing = "Transfer-Encoding: chunked" if chunked else None
        if length is not None and has_length(status):
            framing = f"Content-Length: {length}"
        # HTTP/1.0 knows no chunks: there the end of the connection is the end of the body.
        self.stays = connection.outlives(self._request) and (framing is not None or not has_body)
        head = to_wire_head(status, headers, framing, minor=int(is_new), keep_alive=self.stays)

        async def write(data: bytes) -> None:
            if has_body and data:
                await self._write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)

        async with connection.held():
            try:
                await self._write(head)
                yield write
                if chunked:
                    await self._write(b"0\r\n\r\n")
            except BaseException:
                connection.reset()
                raise

    async def _write(self, data: bytes) -> None:
        if not await self._connection.write(self._request, data):
            raise CallerGone
