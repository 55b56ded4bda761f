"""One connection: aiohttp's RequestHandler with a deadline and a bound for heads, our replies on the wire, and endings
that reach the caller. What a request means is not known here.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from aiohttp import EMPTY_PAYLOAD, StreamReader, web

from gateway.core.http.request import Response
from gateway.core.outcome.outcome import Reason
from gateway.web.body import awaits_continue
from gateway.web.wire import NOT_HTTP, refusal, to_wire

# aiohttp's limit for one line, and ours for a head that has not ended.
MAX_LINE_BYTES = 131072
# Four bytes of header cost some 300 in memory, so their number is bounded too.
MAX_HEADERS = 1024
# aiohttp buffers twice this of a body that nobody reads.
READ_BUFFER_BYTES = 65536
# A connection is kept after a reply that came before the body when no more than this is still to come.
SMALL_REST_BYTES = 65536
# How long a caller may go on sending once it has its reply (nginx: lingering_timeout 5s).
LINGER_S = 5.0
# SO_LINGER of 0 s: closing sends a reset, where the end of a connection could pass for the end of a reply.
_AT_ONCE = struct.pack("ii", 1, 0)

HEAD_TOO_LONG = refusal(400, Reason.NOT_PARSED, f"the head of the request is over {MAX_LINE_BYTES} bytes")
HEAD_TOO_SLOW = refusal(408, Reason.TOO_SLOW, "the head of the request did not arrive in time")


class CallerGone(Exception):
    """The caller has hung up, or reads no more, before its reply was complete."""


class Answered(web.StreamResponse):
    """What aiohttp gets in place of a response: the reply is written already, and the connection stays or goes."""

    def __init__(self, *, stays: bool, goodbye: "Connection | None" = None) -> None:
        super().__init__()
        self._stays = stays
        self._goodbye = goodbye

    @property
    def keep_alive(self) -> bool:
        return self._stays

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        if self._goodbye is not None:
            await self._goodbye.linger()


KEPT = Answered(stays=True)
ENDED = Answered(stays=False)


class Connection(web.RequestHandler):
    """Of aiohttp's private attributes this reads one: `_messages`, the requests whose heads are parsed and which wait
    for their turn. No public name tells where a head ends."""

    __slots__ = (
        "_body",
        "_deaf",
        "_eof",
        "_gone",
        "_head_bytes",
        "_head_timeout_s",
        "_head_timer",
        "_on_lost",
        "_reject",
        "busy",
        "excess",
        "finishing",
        "peer",
        "surplus",
    )

    def __init__(
        self,
        server: web.Server,
        *,
        loop: asyncio.AbstractEventLoop,
        head_timeout_s: float,
        idle_timeout_s: float,
        reject: Callable[[str, str], None],
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=idle_timeout_s,
            access_log=None,  # type: ignore[arg-type]  # None turns it off, the annotation leaves it out
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            max_headers=MAX_HEADERS,
            read_bufsize=READ_BUFFER_BYTES,
            auto_decompress=False,
            lingering_time=0,  # aiohttp's does not tell the caller that the reply is complete; `linger` does
        )
        self._reject = reject
        self._head_timeout_s = head_timeout_s
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._body: StreamReader = EMPTY_PAYLOAD  # of the request whose head was parsed last
        self._eof = False
        self._deaf = False
        self._gone: asyncio.Future[None] | None = None
        self._on_lost: Callable[[], object] | None = None
        self.busy = False
        self.finishing = False
        self.surplus = False
        self.excess = False
        self.peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self.peer = peer[0].removeprefix("::ffff:") if isinstance(peer, tuple) else ""
        super().connection_made(transport)  # the server reads `peer`
        if self.transport is not None:
            # So that writing_paused means: the kernel did not take the whole reply. With 0, a transport of TLS would
            # pause when nothing is left to write.
            self.transport.set_write_buffer_limits(high=1, low=0)
        self._await_head()
        if self.excess:
            self._reject("too_many_connections", self.peer)
            self.cut()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_head_timer()
        self._break_body()
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        if self._on_lost is not None:
            self._on_lost()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's own annotation is bool | None
        """Keep a half-closed connection while its caller is owed a reply (RFC 9112, section 9.6)."""
        self._eof = True
        self._break_body()
        owed = self.busy or bool(self._messages)
        return owed and not self._deaf and self.ssl_context is None

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        body = self._body
        between = body.is_eof()  # before: a segment that ends a body is not the start of the next head
        super().data_received(data)
        if self._messages:
            self._body = self._messages[-1][1]
            if self._body is not body and not body.is_eof():
                # aiohttp queues a 400 behind this request, and leaves its reader waiting for ever.
                body.set_exception(web.RequestPayloadError("not validly chunked"))
            if self._head_timer is not None or self._head_bytes:
                self._stop_head_timer()
        elif data and between:
            self._grow_head(len(data))

    # The head of the next request.

    def _grow_head(self, size: int) -> None:
        """Count bytes of a head that has not ended. The rest of a segment that ends a request is not seen, hence a
        pipelined head counts from its second segment on."""
        if self._head_timer is None:
            self._await_head()
        self._head_bytes += size
        if self._head_bytes > MAX_LINE_BYTES:
            self._refuse(HEAD_TOO_LONG, "head_too_long")

    def _await_head(self) -> None:
        self._head_timer = self._loop.call_later(self._head_timeout_s, self._head_is_late)

    def _stop_head_timer(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        if self.busy:
            self._await_head()
        else:
            self._refuse(HEAD_TOO_SLOW, "head_too_slow")

    def _refuse(self, response: Response, cause: str) -> None:
        """Answer where no request is being handled; behind one that is, only stop listening."""
        self._reject(cause, self.peer)
        self._stop_head_timer()
        if self.busy or self.transport is None:
            self.close()
            return
        self.transport.write(to_wire(response))
        self._turn_deaf()
        self._head_timer = self._loop.call_later(LINGER_S, self.force_close)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what aiohttp could not parse. Our handler lets no exception through, so there is no other use."""
        self._reject("not_http", self.peer)
        if self.transport is not None:
            self.transport.write(to_wire(NOT_HTTP))
        return Answered(stays=False, goodbye=self)

    # A request, from its turn to its reply.

    def begin(self, content: StreamReader) -> None:
        """Note that a request has its turn."""
        self.busy = True
        if not self._messages:
            self._body = content  # aiohttp parses what follows a declined Upgrade without data_received

    def outlives(self, request: web.BaseRequest) -> bool:
        """Tell whether the connection can stay open after this request's reply."""
        if self.surplus or not request.keep_alive:
            return False
        if (self.finishing or self._eof) and not self._messages:
            return False
        content = request.content
        if content.is_eof():
            return True
        rest = (request.content_length or SMALL_REST_BYTES + 1) - content.total_bytes
        return rest <= SMALL_REST_BYTES and content.exception() is None and not awaits_continue(request)

    async def reply(self, request: web.BaseRequest, data: bytes, *, stays: bool) -> bool:
        """Write a whole reply, or the rest of one, see to what is left of the request's body, and tell whether the
        connection stays."""
        if not await self.write(request, data):
            return False
        if request.content.is_eof():
            return stays
        if stays and await _in_time(LINGER_S, _skip(request.content)):
            return True
        await self.linger()
        return False

    async def write(self, request: web.BaseRequest, data: bytes) -> bool:
        """Write, and wait until the kernel has all of it; False where the caller has gone, or reads no more."""
        if self.transport is None or self.transport.is_closing():
            return False
        self.transport.write(data)
        if self.writing_paused and not await _in_time(self.keepalive_timeout, request.writer.drain()):
            self.cut()
            return False
        return True

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Run what is only for this caller. Raises CallerGone in its place once the connection is lost."""
        task = asyncio.current_task()
        assert task is not None
        if self.transport is None:
            raise CallerGone
        self._on_lost = task.cancel
        try:
            yield
        except asyncio.CancelledError:
            # As asyncio.timeout does: a cancellation from elsewhere, at shutdown, goes its way.
            if self.transport is None and task.uncancel() == 0:
                raise CallerGone from None
            raise
        finally:
            self._on_lost = None

    # The end.

    async def linger(self) -> None:
        """Wait until the caller hangs up too: closing while it still sends would reset away the reply it has yet to
        read (RFC 9112, section 9.6)."""
        if self._eof or self.transport is None:
            return
        self._turn_deaf()
        self._gone = self._loop.create_future()
        await _in_time(LINGER_S, self._gone)

    @property
    def is_idle(self) -> bool:
        """Whether no request is being handled, waits, or has begun to arrive."""
        return not (self.busy or self._messages or self._head_bytes or self._deaf)

    @property
    def is_expendable(self) -> bool:
        """Whether no reply is owed: no head is complete, or the reply is written and the caller has yet to hang up."""
        return self._deaf or not (self.busy or self._messages)

    def close_if_idle(self) -> None:
        if self.is_idle:
            self.force_close()

    def cut(self) -> None:
        """Close at once, whatever is still to be written."""
        if self.transport is not None:
            self.transport.abort()

    def reset(self) -> None:
        """Close so that the caller sees a reply to be broken, even one that only the end of the connection ends."""
        if self.transport is not None:
            socket_ = self.transport.get_extra_info("socket")
            with suppress(OSError):
                socket_.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            self.transport.abort()

    def _turn_deaf(self) -> None:
        """Half-close the connection, and discard what has been received and what is still to come."""
        self._deaf = True
        if self._body.exception() is None:
            self._body.read_nowait()
        if self.transport is None or self.transport.is_closing():
            return
        try:
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self.transport.resume_reading()  # aiohttp may have paused it for a body that nobody reads
        except OSError:  # asyncio shuts the socket down bare, which fails where the caller has reset it
            self.cut()

    def _break_body(self) -> None:
        if not self._body.is_eof():
            self._body.set_exception(web.RequestPayloadError("the caller hung up"))


async def _skip(content: StreamReader) -> None:
    while not content.is_eof():
        await content.readany()


async def _in_time(seconds: float, act: Awaitable[None]) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await act
    except (TimeoutError, ConnectionError, web.RequestPayloadError):
        return False
    return True
