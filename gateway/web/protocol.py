"""One HTTP/1.1 connection: requests are answered in order, and every ending reaches the caller.

Received bytes wait in `_unparsed` until the parser has room: at most MAX_QUEUED requests, and little of a body that is
not being read. Then the transport stops reading. A request whose head is complete joins `_queue`, and one task per
connection answers the queue and ends with it. What cannot be parsed joins the queue too, as a `Rejection`.

One timer runs while no request is handled: for the head of the first request from the start, for the following ones
from their first byte, and for idle connections in between.

A reply may come before the end of its request. A small rest of the body is then skipped; otherwise the connection is
closed by `lingering_close`, because a plain close would reset the connection and lose the reply.
"""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol, cast

from gateway.core.http.request import Response
from gateway.core.outcome.outcome import Reason
from gateway.web.body import Body
from gateway.web.parser import MAX_HEAD_BYTES, NotHttp, RequestParser, WireRequest
from gateway.web.wire import NOT_HTTP, short_reply, to_wire

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


class CallerGone(Exception):
    """The caller disconnected, or stopped reading, before its reply was complete."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """The reply to bytes that are no request."""

    cause: str
    response: Response


_TOO_LONG = short_reply(400, Reason.NOT_PARSED, f"the head of the request is over {MAX_HEAD_BYTES} bytes")
_TOO_SLOW = short_reply(408, Reason.TOO_SLOW, "the head of the request did not arrive in time")
REJECTIONS = {
    "not_http": Rejection("not_http", NOT_HTTP),
    "head_too_long": Rejection("head_too_long", _TOO_LONG),
    "head_too_slow": Rejection("head_too_slow", _TOO_SLOW),
}


class Owner(Protocol):
    """Implemented by `gateway.web.server.Server`."""

    running: set[asyncio.Task[None]]

    def opened(self, connection: "Connection") -> None: ...
    def lost(self, connection: "Connection") -> None: ...
    def reject(self, cause: str, peer: str) -> None: ...
    async def answer(self, connection: "Connection", request: WireRequest) -> bool:
        """Reply to a request. Returns whether the connection stays open."""


class Connection(asyncio.Protocol):
    """`finishing` closes the connection after the replies to the requests that have arrived. `over_limit` closes it
    after the first reply, `far_over_limit` immediately. `peer` is the caller's IP address, or ''."""

    def __init__(self, owner: Owner, *, head_timeout_s: float, idle_timeout_s: float) -> None:
        self._owner = owner
        self._head_timeout_s = head_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._loop = asyncio.get_running_loop()
        self._parser = RequestParser(self._enqueue, self._body_is_read)
        self._unparsed = b""
        self._queue: deque[WireRequest | Rejection] = deque()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._head_is_timed = False
        self._is_paused = False
        self._eof = False
        self._is_broken = False  # what follows cannot be parsed
        self._is_lingering = False
        self._drained: asyncio.Future[None] | None = None
        self._lost = self._loop.create_future()
        self._on_lost: asyncio.Task[object] | None = None
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
        self._time_head()
        self._owner.opened(self)
        if self.far_over_limit:
            self._owner.reject("too_many_connections", self.peer)
            self.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.transport = None
        self._stop_timer()
        self._queue.clear()
        self._unparsed = b""
        self._parser.body.fail()
        self.resume_writing()
        if not self._lost.done():
            self._lost.set_result(None)
        if self._on_lost is not None:
            self._on_lost.cancel()
        self._owner.lost(self)

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
        return self._is_busy and can_half_close and not self._is_lingering

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
                self._enqueue(REJECTIONS[error.cause])
            self._parser.body.fail()
            self._is_broken = True
        if self._eof and not self._unparsed:
            self._parser.body.fail()
        if self._parser.in_head and not (self._is_busy or self._head_is_timed):
            self._time_head()
        self._pause_reading(bool(self._unparsed))

    def _pause_reading(self, pause: bool) -> None:
        if pause != self._is_paused and self.transport is not None and not self.transport.is_closing():
            self._is_paused = pause
            (self.transport.pause_reading if pause else self.transport.resume_reading)()

    def _body_is_read(self, body: Body) -> None:
        if body.awaits_continue and self.transport is not None:
            self.transport.write(_CONTINUE)
        self._parse()

    def _enqueue(self, item: WireRequest | Rejection) -> None:
        self._queue.append(item)
        self._stop_timer()
        if self._task is None:
            self._task = self._loop.create_task(self._answer_queue())
            self._owner.running.add(self._task)
            self._task.add_done_callback(self._owner.running.discard)

    async def _answer_queue(self) -> None:
        try:
            while self._queue:
                item = self._queue.popleft()
                self._parse()
                if not await self._answer(item):
                    self.close()
                    return
        except BaseException:
            self.abort()
            raise
        finally:
            self._task = None
        if self._eof:
            self.close()
        elif self._parser.in_head:
            self._time_head()
        else:
            self._set_timer(self._idle_timeout_s, self.close)

    async def _answer(self, item: WireRequest | Rejection) -> bool:
        if isinstance(item, WireRequest):
            return await self._owner.answer(self, item)
        self._owner.reject(item.cause, self.peer)
        if await self.write(to_wire(item.response)):
            await self.lingering_close()
        return False

    # Timers.

    def _time_head(self) -> None:
        self._set_timer(self._head_timeout_s, lambda: self._enqueue(REJECTIONS["head_too_slow"]))
        self._head_is_timed = True

    def _set_timer(self, seconds: float, callback: Callable[[], None]) -> None:
        self._stop_timer()
        if self.transport is not None:
            self._timer = self._loop.call_later(seconds, callback)

    def _stop_timer(self) -> None:
        self._head_is_timed = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Replies.

    def keep_alive_after(self, request: WireRequest) -> bool:
        """True if the connection can stay open after the reply to this request."""
        if self.over_limit or not request.keep_alive:
            return False
        if (self.finishing or self._eof) and not (self._queue or self._unparsed):
            return False
        body = request.body
        if body.complete:
            return True
        rest = SMALL_REST_BYTES + 1 if body.length is None else body.length - body.size
        return rest <= SMALL_REST_BYTES and not (body.failed or body.awaits_continue)

    async def reply(self, request: WireRequest, data: bytes, *, keep_alive: bool) -> bool:
        """Write a reply, or the rest of one, and receive the rest of the request. Returns whether the connection stays
        open."""
        if not await self.write(data):
            return False
        if request.body.complete:
            return keep_alive
        if keep_alive and await _in_time(LINGER_S, request.body.skip()) and request.body.complete:
            return True
        await self.lingering_close()
        return False

    async def write(self, data: bytes) -> bool:
        """Write and wait until the kernel has taken all data. Returns False if the caller is gone or does not read."""
        if self.transport is None or self.transport.is_closing():
            return False
        self.transport.write(data)
        if self._drained is not None and not await _in_time(self._idle_timeout_s, self._drained):
            self.abort()
            return False
        return self.transport is not None

    @contextmanager
    def cancel_on_disconnect(self) -> Iterator[None]:
        """Cancel the block if the caller disconnects. Raises CallerGone in that case."""
        task = asyncio.current_task()
        assert task is not None
        if self.transport is None:
            raise CallerGone
        self._on_lost = task
        try:
            yield
        except asyncio.CancelledError:
            # As in asyncio.timeout: a cancellation for another reason, at shutdown, is passed on.
            if self.transport is None and task.uncancel() == 0:
                raise CallerGone from None
            raise
        finally:
            self._on_lost = None

    # Endings.

    async def lingering_close(self) -> None:
        """Half-close the connection, and wait until the caller closes it too. A plain close while the caller still
        sends would reset the connection before the reply is read (RFC 9112, section 9.6)."""
        if self._eof or self.transport is None:
            return
        self._discard_input()
        await _in_time(LINGER_S, asyncio.shield(self._lost))

    def _discard_input(self) -> None:
        self._is_lingering = True
        self._unparsed = b""
        self._queue.clear()
        self._parser.body.fail()
        if self.transport is None or self.transport.is_closing():
            return
        try:
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self._pause_reading(False)
        except OSError:  # asyncio calls shutdown() on the socket, which fails if the caller has reset the connection
            self.abort()

    @property
    def _is_busy(self) -> bool:
        return self._task is not None

    @property
    def is_idle(self) -> bool:
        """True if no request is being handled and no head has begun to arrive."""
        return not (self._is_busy or self._parser.in_head)

    @property
    def is_expendable(self) -> bool:
        """True if no reply is owed: no head is complete, or only the caller's end of the connection is missing."""
        return self._is_lingering or not self._is_busy

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
