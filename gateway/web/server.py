"""The connections of one listener, and the step from a parsed request to our own handler and back.

This module depends on no route and no vendor.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from gateway.core.http.request import Response
from gateway.core.outcome.outcome import Outcome, Reason, failure
from gateway.web.body import Reserve
from gateway.web.crowd import Crowd
from gateway.web.parser import HOST, WireRequest
from gateway.web.protocol import Connection
from gateway.web.streaming_reply import StreamingReply
from gateway.web.wire import short_reply, to_wire

log = structlog.get_logger()

# Connections beyond the limit that still get a reply; further ones are aborted.
SURPLUS_CONNECTIONS = 256
# From this share of the limit on, a new connection closes one that never had an accepted report.
CROWDED = 0.75
# How often a rejected request is logged, in seconds.
LOG_EVERY_S = 1.0
# How long a cancelled handler may take to clean up.
CUT_S = 1.0

INTERNAL_ERROR = short_reply(500, Reason.INTERNAL, "internal error")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Limits of one listener. Heads up to 128 KiB are rejected in the route's dialect, longer ones with a short 400."""

    max_head_bytes: int = 65536
    head_timeout_s: float = 10
    idle_timeout_s: float = 75
    max_connections: int = 2048


class Incoming:
    """One request whose head has been read.

    `target` and `headers` are as on the wire; an absolute target is reduced to path and query. `problem` is an outcome
    that the handler has to reply with immediately. `peer` is the caller's IP address, or ''. `streaming_reply` writes a
    reply in parts.
    """

    __slots__ = ("_body", "headers", "method", "peer", "problem", "scheme", "streaming_reply", "target")

    def __init__(self, request: WireRequest, connection: Connection, scheme: str, problem: Outcome | None) -> None:
        self._body = request.body
        self.method = request.method
        self.target = request.target
        self.headers = request.headers
        self.scheme = scheme
        self.peer = connection.peer
        self.problem = problem
        self.streaming_reply = StreamingReply(request, connection)

    async def read_body(self, *, max_bytes: int, timeout_s: float, reserve: Reserve | None = None) -> bytes:
        """Return the body as on the wire, chunks joined, still compressed.

        Raises CallerError: TOO_LARGE (before reading, if the length is declared), TOO_SLOW, NOT_PARSED, OVERLOADED.
        """
        return await self._body.read(max_bytes=max_bytes, timeout_s=timeout_s, reserve=reserve)

    def decline_body(self) -> None:
        """Leave the rest of the body unread. Unless it has arrived already, the connection closes after the reply."""
        self._body.fail()


# Returns None if `streaming_reply` has written the reply.
Handler = Callable[[Incoming], Awaitable[Response | None]]


class Server:
    """Makes, counts and closes connections."""

    def __init__(
        self,
        handler: Handler,
        limits: HttpLimits,
        *,
        scheme: str,
        on_reject: Callable[[str], None] | None = None,
    ) -> None:
        self.running: set[asyncio.Task[None]] = set()
        self._handler = handler
        self._limits = limits
        self._scheme = scheme
        self._on_reject = on_reject
        self._logged_s = -LOG_EVERY_S
        self._open: set[Connection] = set()
        self._unserved: Crowd[Connection] = Crowd()
        self._finishing = False

    def __call__(self) -> Connection:
        """Make the protocol of a new connection, as asyncio requires of a protocol factory."""
        return Connection(self, head_timeout_s=self._limits.head_timeout_s, idle_timeout_s=self._limits.idle_timeout_s)

    def opened(self, connection: Connection) -> None:
        if len(self._open) >= self._limits.max_connections * CROWDED:
            self._make_room()
        self._open.add(connection)
        self._unserved.add(connection, connection.peer)
        connection.finishing = self._finishing
        connection.over_limit = len(self._open) > self._limits.max_connections
        connection.far_over_limit = len(self._open) > self._limits.max_connections + SURPLUS_CONNECTIONS

    def _make_room(self) -> None:
        """Close the longest-idle connection without an accepted report, of the peer with the most of them."""
        evicted = self._unserved.take(lambda connection: connection.is_expendable)
        if evicted is not None:
            self._open.discard(evicted)  # now: many connections may be opened before it is lost
            evicted.abort()

    def lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._unserved.discard(connection)

    def reject(self, cause: str, peer: str) -> None:
        """Count a request that is rejected before the handler sees it, and log at most one per second."""
        if self._on_reject is not None:
            self._on_reject(cause)
        now = asyncio.get_running_loop().time()
        if now - self._logged_s >= LOG_EVERY_S:
            self._logged_s = now
            log.warning("request_rejected", cause=cause, peer=peer)

    async def answer(self, connection: Connection, request: WireRequest) -> bool:
        """Handle a request and write the reply. Returns whether the connection stays open."""
        try:
            data, keep_alive = await self._handle(connection, request)
            return await connection.reply(request, data, keep_alive=keep_alive)
        finally:
            self._unserved.renew(connection)

    async def _handle(self, connection: Connection, request: WireRequest) -> tuple[bytes, bool]:
        """Return the bytes of the reply, b"" if they are written already, and whether the connection can stay open."""
        incoming = Incoming(request, connection, self._scheme, self._problem(connection, request))
        try:
            response = await self._handler(incoming)
            if response is None or response.status < 400:  # only verified reports have streamed replies
                self._unserved.discard(connection)
            if response is None:
                return b"", incoming.streaming_reply.keep_alive
            return _written(response, connection, request)
        except Exception:
            log.exception("internal_error", method=request.method)
            return _written(INTERNAL_ERROR, connection, request)

    def _problem(self, connection: Connection, request: WireRequest) -> Outcome | None:
        if connection.over_limit:
            return failure(Reason.OVERLOADED, "too many connections", retry_after_s=1)
        if request.head_bytes > self._limits.max_head_bytes:
            return failure(Reason.BAD_HEADER, f"the head is larger than {self._limits.max_head_bytes} bytes")
        host = next((value for name, value in request.headers if name.lower() == "host"), "")
        if not HOST.fullmatch(host):
            # Recipes sign the host next to the path: a slash in the host could move the boundary.
            return failure(Reason.BAD_HEADER, "the header Host is not a host")
        return None

    def finish(self) -> None:
        """Close each connection after the replies to the requests that have arrived."""
        self._finishing = True
        for connection in self._open:
            connection.finishing = True

    def close_idle(self) -> bool:
        """Close idle connections. Returns whether others are left."""
        for connection in list(self._open):
            if connection.is_idle:
                connection.close()
        return bool(self._open or self.running)

    async def cut(self) -> None:
        """Cancel all handlers and abort all connections."""
        if self.running:
            for task in self.running:
                task.cancel()
            await asyncio.wait(self.running, timeout=CUT_S)
        for connection in list(self._open):
            connection.abort()
        await asyncio.sleep(0)


def _written(response: Response, connection: Connection, request: WireRequest) -> tuple[bytes, bool]:
    keep_alive = connection.keep_alive_after(request)
    return to_wire(response, minor=request.minor, keep_alive=keep_alive, method=request.method), keep_alive
