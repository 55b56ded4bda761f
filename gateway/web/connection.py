"""One HTTP/1.1 connection: requests are answered in order, and every ending reaches the caller.

Received bytes wait in `_unparsed` until the parser has room: at most MAX_QUEUED requests, and little of a body that is
not being read. Then the transport stops reading. A request whose head is complete joins `_queue`, and one task per
connection answers the queue and ends with it. What cannot be parsed joins the queue too, as the cause of a rejection.

While no request is handled there is a deadline: for the head of the first request from the start, for the following
ones from their first byte, and for idle connections in between. One timer per connection serves all of them: when it
fires early, it is set again.

A reply may come before the end of its request. A small rest of the body is then skipped; otherwise the connection is
closed by `_lingering_close`, because a plain close would reset the connection and lose the reply.
"""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import structlog

from gateway.core.http.request import Response
from gateway.core.outcome.outcome import Outcome, Reason, failure
from gateway.core.outcome.reply import plain_reply
from gateway.web.body import Body
from gateway.web.parser import MAX_HEAD_BYTES, Incoming, NotHttp, RequestParser, is_host
from gateway.web.wire import to_wire

if TYPE_CHECKING:
    from gateway.web.server import Server

# Requests that wait for the one before them; then the connection stops reading.
MAX_QUEUED = 16
# Bytes that are parsed at once. Bounds the requests that may exceed MAX_QUEUED.
SLICE_BYTES = 16_384
# The connection is kept after an early reply if no more than this of the body is left.
SMALL_REST_BYTES = 65_536
# How long a caller may continue to send after its reply (nginx: lingering_timeout 5s).
LINGER_S = 5.0
# SO_LINGER of 0 s: closing sends a reset. A plain end of the connection could look like the end of the reply.
_RESET = struct.pack("ii", 1, 0)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_TOO_LONG = failure(Reason.NOT_PARSED, f"the head of the request is over {MAX_HEAD_BYTES} bytes")
_TOO_SLOW = failure(Reason.TOO_SLOW, "the head of the request did not arrive in time")
# The replies to what is no request, by cause.
REJECTIONS = {
    "not_http": plain_reply(failure(Reason.NOT_PARSED, "the request is not valid HTTP/1.1")),
    "head_too_long": plain_reply(_TOO_LONG),
    "head_too_slow": replace(plain_reply(_TOO_SLOW), status=408),
}
INTERNAL_ERROR = plain_reply(failure(Reason.INTERNAL, "internal error"))

log = structlog.get_logger()


class Connection(asyncio.Protocol):
    """`finishing` closes the connection after the replies to the requests that have arrived. `over_limit` closes it
    after the first reply, `far_over_limit` immediately. `peer` is the caller's IP address, or ''. `task` answers the
    requests; while `is_streaming`, it is cancelled if the caller disconnects."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._limits = server.limits
        self._loop = asyncio.get_running_loop()
        self._parser = RequestParser(self._enqueue, self._body_is_read, server.scheme)
        self._unparsed = b""
        self._queue: deque[Incoming | str] = deque()
        self.task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline: float | None = None
        self._head_is_timed = False  # the deadline is that of a head
        self._is_paused = False
        self._eof = False
        self._is_broken = False  # what follows cannot be parsed
        self._is_lingering = False
        self._drained: asyncio.Future[None] | None = None
        self._lost = self._loop.create_future()
        self.is_streaming = False
        self.transport: asyncio.Transport | None = None
        self.finishing = False
        self.over_limit = False
        self.far_over_limit = False
        self.peer = ""

    # Callbacks of asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.peer = peer[0].removeprefix("::ffff:") if isinstance(peer, tuple) else ""
        # pause_writing then means that the kernel did not take the whole reply. With 0, a TLS transport would pause
        # even if nothing is left to write.
        transport.set_write_buffer_limits(high=1, low=0)
        self._set_deadline(self._limits.head_timeout_s, of_head=True)
        self._server.opened(self)
        if self.far_over_limit:
            self._server.reject("too_many_connections", self.peer)
            self.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.transport = None
        self._deadline = None
        if self._timer is not None:
            self._timer.cancel()
        self._queue.clear()
        self._unparsed = b""
        self._parser.body.fail()
        self.resume_writing()
        if not self._lost.done():
            self._lost.set_result(None)
        if self.is_streaming and self.task is not None:
            self.task.cancel()
        self._server.lost(self)

    def data_received(self, data: bytes) -> None:
        if not (self._is_broken or self._is_lingering):
            self._unparsed += data
            self._parse()

    def eof_received(self) -> bool:
        """Keep a half-closed connection until its requests are answered (RFC 9112, section 9.6)."""
        self._eof = True
        if not self._unparsed:
            self._parser.body.fail()
        can_half_close = self.transport is not None and self.transport.get_extra_info("sslcontext") is None
        return self.task is not None and can_half_close and not self._is_lingering

    def pause_writing(self) -> None:
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    # From bytes to requests.

    def _parse(self) -> None:
        """Parse what has been received while there is room for it."""
        try:
            while self._unparsed and len(self._queue) < MAX_QUEUED and not self._parser.body.is_full:
                data, self._unparsed = self._unparsed[:SLICE_BYTES], self._unparsed[SLICE_BYTES:]
                self._parser.feed(data)
        except NotHttp as error:
            self._unparsed = b""
            if self._parser.body.complete:
                self._enqueue(error.cause)
            self._parser.body.fail()
            self._is_broken = True
        if self._eof and not self._unparsed:
            self._parser.body.fail()
        if self._parser.in_head and self.task is None and not self._head_is_timed:
            self._set_deadline(self._limits.head_timeout_s, of_head=True)
        self._pause_reading(bool(self._unparsed))

    def _pause_reading(self, pause: bool) -> None:
        if pause != self._is_paused and self.transport is not None and not self.transport.is_closing():
            self._is_paused = pause
            (self.transport.pause_reading if pause else self.transport.resume_reading)()

    def _body_is_read(self, body: Body) -> None:
        if body.awaits_continue and self.transport is not None:
            self.transport.write(_CONTINUE)
        self._parse()

    def _enqueue(self, item: Incoming | str) -> None:
        self._queue.append(item)
        self._deadline, self._head_is_timed = None, False
        if self.task is None:
            self.task = self._loop.create_task(self._answer_queue())
            self._server.running.add(self.task)

    def _set_deadline(self, seconds: float, *, of_head: bool = False) -> None:
        self._deadline, self._head_is_timed = self._loop.time() + seconds, of_head
        if self._timer is not None and self._timer.when() > self._deadline:
            self._timer.cancel()
            self._timer = None
        if self._timer is None and self.transport is not None:
            self._timer = self._loop.call_at(self._deadline, self._check_deadline)

    def _check_deadline(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        if self._deadline > self._loop.time():
            self._timer = self._loop.call_at(self._deadline, self._check_deadline)
        elif self._head_is_timed:
            self._enqueue("head_too_slow")
        else:
            self.close()

    # From requests to replies.

    async def _answer_queue(self) -> None:
        task = self.task
        assert task is not None
        try:
            while self._queue:
                item = self._queue.popleft()
                if self._unparsed:
                    self._parse()
                if not await (self._reject(item) if isinstance(item, str) else self._answer(item)):
                    self.close()
                    return
        except BaseException:
            self.abort()
            raise
        finally:
            self.task = None
            self._server.running.discard(task)
        if self._eof:
            self.close()
        elif self._parser.in_head:
            self._set_deadline(self._limits.head_timeout_s, of_head=True)
        else:
            self._set_deadline(self._limits.idle_timeout_s)

    async def _reject(self, cause: str) -> bool:
        """Reply to what is no request. Returns False: the connection closes."""
        self._server.reject(cause, self.peer)
        if await self.write(to_wire(REJECTIONS[cause])):
            await self._lingering_close()
        return False

    async def _answer(self, incoming: Incoming) -> bool:
        """Reply to a request, and receive its rest. Returns whether the connection stays open."""
        incoming.connection, incoming.peer, incoming.problem = self, self.peer, self._problem(incoming)
        try:
            try:
                response = await self._server.handler(incoming)
                if response is None or response.status < 400:  # only verified reports have streamed replies
                    self._server.keep(self)
                data = b"" if response is None else self._to_wire(response, incoming)
            except Exception:
                log.exception("internal_error", method=incoming.request.method)
                data = self._to_wire(INTERNAL_ERROR, incoming)
            if not await self.write(data):
                return False
            if incoming.body.complete:
                return incoming.keep_alive
            if incoming.keep_alive and await _in_time(LINGER_S, incoming.body.skip()) and incoming.body.complete:
                return True
            await self._lingering_close()
            return False
        finally:
            self._server.renew(self)

    def _problem(self, incoming: Incoming) -> Outcome | None:
        if self.over_limit:
            return failure(Reason.OVERLOADED, "too many connections", retry_after_s=1)
        if incoming.head_bytes > self._limits.max_head_bytes:
            return failure(Reason.BAD_HEADER, f"the head is larger than {self._limits.max_head_bytes} bytes")
        if not is_host(incoming.request.host):
            # Recipes sign the host next to the path: a slash in the host could move the boundary.
            return failure(Reason.BAD_HEADER, "the header Host is not a host")
        return None

    def _to_wire(self, response: Response, incoming: Incoming) -> bytes:
        incoming.keep_alive = self.keeps_alive(incoming)
        method, minor = incoming.request.method, incoming.minor
        return to_wire(response, minor=minor, keep_alive=incoming.keep_alive, method=method)

    def keeps_alive(self, incoming: Incoming) -> bool:
        """True if the connection can stay open after the reply to this request."""
        if self.over_limit or not incoming.keep_alive:
            return False
        if (self.finishing or self._eof) and not (self._queue or self._unparsed):
            return False
        body = incoming.body
        if body.complete:
            return True
        rest = SMALL_REST_BYTES + 1 if body.length is None else body.length - body.size
        return rest <= SMALL_REST_BYTES and not (body.failed or body.awaits_continue)

    async def write(self, data: bytes) -> bool:
        """Write and wait until the kernel has taken all data. Returns False if the caller is gone or does not read."""
        if self.transport is None or self.transport.is_closing():
            return False
        if data:
            self.transport.write(data)
        if self._drained is not None and not await _in_time(self._limits.idle_timeout_s, self._drained):
            self.abort()
            return False
        return self.transport is not None

    # Endings.

    async def _lingering_close(self) -> None:
        """Half-close the connection, and wait until the caller closes it too. A plain close while the caller still
        sends would reset the connection before the reply is read (RFC 9112, section 9.6)."""
        if self._eof or self.transport is None:
            return
        self._is_lingering = True
        self._unparsed = b""
        self._queue.clear()
        self._parser.body.fail()
        if not self.transport.is_closing():
            try:
                if self.transport.can_write_eof():
                    self.transport.write_eof()
                self._pause_reading(False)
            except OSError:  # asyncio calls shutdown() on the socket, which fails if the caller has reset it
                self.abort()
        await _in_time(LINGER_S, asyncio.shield(self._lost))

    @property
    def is_idle(self) -> bool:
        """True if no request is being handled and no head has begun to arrive."""
        return self.task is None and not self._parser.in_head

    @property
    def is_expendable(self) -> bool:
        """True if no reply is owed: no head is complete, or only the caller's end of the connection is missing."""
        return self._is_lingering or self.task is None

    def close(self) -> None:
        # After a second close, the TLS transport of Python 3.11.2 can no longer be aborted.
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()

    def abort(self) -> None:
        """Close immediately and discard what is not written yet."""
        if self.transport is not None:
            self.transport.abort()

    def reset(self) -> None:
        """Send a reset, which shows the caller that its reply is incomplete even without a length."""
        if self.transport is not None:
            with suppress(OSError):
                self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()


async def _in_time(seconds: float, act: Awaitable[object]) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await act
    except TimeoutError:
        return False
    return True
