"""A reply that is written while its body arrives: its framing, and an ending that shows whether it is complete."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from gateway.core.http.request import Headers
from gateway.web.parser import WireRequest
from gateway.web.protocol import CallerGone, Connection
from gateway.web.wire import has_length, to_wire_head

Write = Callable[[bytes], Awaitable[None]]


class StreamingReply:
    """The reply to one request. `keep_alive` tells whether the connection can serve another request after it."""

    __slots__ = ("_connection", "_request", "keep_alive")

    def __init__(self, request: WireRequest, connection: Connection) -> None:
        self._request = request
        self._connection = connection
        self.keep_alive = False

    @asynccontextmanager
    async def begin(self, status: int, headers: Headers, length: int | None) -> AsyncIterator[Write]:
        """Write the head, and yield the function that writes the body. It waits while the caller reads more slowly.

        If the block raises, the connection is reset: the caller must not take the reply for complete. Raises
        CallerGone, and ValueError for a control character in a header, before anything is written.
        """
        connection, has_body = self._connection, has_length(status) and self._request.method != "HEAD"
        chunked = has_body and length is None and self._request.minor == 1
        framing = "Transfer-Encoding: chunked" if chunked else None
        if length is not None and has_length(status):
            framing = f"Content-Length: {length}"
        # HTTP/1.0 has no chunks: there, the end of the connection ends the body.
        self.keep_alive = connection.keep_alive_after(self._request) and (framing is not None or not has_body)
        head = to_wire_head(status, headers, framing, minor=self._request.minor, keep_alive=self.keep_alive)

        async def write(data: bytes) -> None:
            if has_body and data:
                await self._write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)

        with connection.cancel_on_disconnect():
            try:
                await self._write(head)
                yield write
                if chunked:
                    await self._write(b"0\r\n\r\n")
            except BaseException:
                connection.reset()
                raise

    async def _write(self, data: bytes) -> None:
        if not await self._connection.write(data):
            raise CallerGone
