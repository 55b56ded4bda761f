"""A reply that is written while its body arrives: its framing, and an ending that shows whether it is complete."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from gateway.core.http.request import Headers
from gateway.web.parser import Incoming
from gateway.web.wire import has_length, to_wire_head

Write = Callable[[bytes], Awaitable[None]]


class CallerGone(Exception):
    """The caller disconnected, or stopped reading, before its reply was complete."""


@asynccontextmanager
async def stream_reply(incoming: Incoming, status: int, headers: Headers, length: int | None) -> AsyncIterator[Write]:
    """Write the head of a reply, and yield the function that writes the body. It waits while the caller reads slowly.

    If the caller disconnects, the block is cancelled. If the block raises, the connection is reset: the caller must not
    take the reply for complete. Raises CallerGone, and ValueError for a control character in a header, before anything
    is written.
    """
    connection, has_body = incoming.connection, has_length(status) and incoming.request.method != "HEAD"
    chunked = has_body and length is None and incoming.minor == 1
    framing = "Transfer-Encoding: chunked" if chunked else None
    if length is not None and has_length(status):
        framing = f"Content-Length: {length}"
    # HTTP/1.0 has no chunks: there, the end of the connection ends the body.
    incoming.keep_alive = connection.keeps_alive(incoming) and (framing is not None or not has_body)
    head = to_wire_head(status, headers, framing, minor=incoming.minor, keep_alive=incoming.keep_alive)

    async def send(data: bytes) -> None:
        if not await connection.write(data):
            raise CallerGone

    async def write(data: bytes) -> None:
        if has_body and data:
            await send(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)

    if connection.transport is None or connection.task is None:
        raise CallerGone
    connection.is_streaming = True
    try:
        await send(head)
        yield write
        if chunked:
            await send(b"0\r\n\r\n")
    except BaseException as error:
        connection.reset()
        gone = isinstance(error, asyncio.CancelledError) and connection.transport is None
        # As in asyncio.timeout: a cancellation for another reason, at shutdown, is passed on.
        if gone and connection.task is not None and connection.task.uncancel() == 0:
            raise CallerGone from None
        raise
    finally:
        connection.is_streaming = False
