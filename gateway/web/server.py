"""The layer between the socket and our own handler: from bytes to an `Incoming`, from a `Response` to bytes.

It knows no route and no vendor. What aiohttp would add (error pages, a Server header, guessed types) is left out.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from yarl import URL

from gateway.core.http.request import Headers, Response
from gateway.core.outcome.outcome import Outcome, Reason, failure
from gateway.web.body import Hold, decline_body, read_body
from gateway.web.crowd import Crowd
from gateway.web.protocol import ENDED, KEPT, Connection
from gateway.web.streaming_reply import Outgoing
from gateway.web.wire import NOT_HTTP, refusal, to_wire

logger = logging.getLogger("gateway.web")

# Connections beyond the limit that still get a reply; further ones are cut.
SURPLUS_CONNECTIONS = 256
# From this share of the limit on, a new connection closes one that never had an accepted report.
CROWDED = 0.75
# How often a rejected request is logged, in seconds.
LOG_EVERY_S = 1.0
# How long a cancelled handler may take to clean up.
CUT_S = 1.0

BUG = refusal(500, Reason.INTERNAL, "internal error")

_NO_URL = URL("/")
_HOST = re.compile(r"(?:[\w.~%!$&'()*+,;=-]*|\[[0-9A-Fa-f:.]+\])(?::\d*)?")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What one listener allows, whatever the route. The head is refused in dialect up to 128 KiB, bluntly beyond."""

    max_head_bytes: int = 65536
    head_timeout_s: float = 10
    idle_timeout_s: float = 75
    max_connections: int = 2048


class Incoming:
    """One request whose head has been read.

    `target` and `headers` are as on the wire, an absolute target reduced to path and query. `problem` is an outcome
    to answer with at once, in the words of whoever the request was for. `peer` is the caller's IP, or ''. `outgoing`
    writes a reply that is not there as a whole.
    """

    __slots__ = ("_request", "headers", "method", "outgoing", "peer", "problem", "scheme", "target")

    def __init__(
        self, request: web.BaseRequest, outgoing: Outgoing, scheme: str, peer: str, problem: Outcome | None
    ) -> None:
        self._request = request
        self.outgoing = outgoing
        self.method: str = request.method
        self.target: str = _origin_form(request.raw_path)
        self.headers: Headers = tuple([(_text(name), _text(value)) for name, value in request.raw_headers])
        self.scheme = scheme
        self.peer = peer
        self.problem = problem

    async def read_body(self, *, max_bytes: int, timeout_s: float, hold: Hold | None = None) -> bytes:
        """Return the body as on the wire, chunks joined, still compressed.

        Raises CallerError: TOO_LARGE (without reading, where the length is declared), TOO_SLOW, NOT_PARSED, OVERLOADED.
        """
        return await read_body(self._request, max_bytes=max_bytes, timeout_s=timeout_s, hold=hold)

    def decline_body(self) -> None:
        """Leave the rest of the body unread. Unless it has arrived already, the connection closes after the reply."""
        decline_body(self._request)


# None says that `outgoing` has written the reply.
Handler = Callable[[Incoming], Awaitable[Response | None]]


class Server(web.Server):
    """aiohttp's low-level server, with our connections, counted."""

    def __init__(
        self,
        handler: Handler,
        limits: HttpLimits,
        *,
        scheme: str,
        rejected: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(self._serve, request_factory=self._take)
        self._handler = handler
        self._limits = limits
        self._scheme = scheme
        self._rejected = rejected
        self._logged_s = -LOG_EVERY_S
        self._open: set[Connection] = set()
        self._unserved: Crowd[Connection] = Crowd()
        self._finishing = False
        self._running: set[asyncio.Task[Any]] = set()

    def reject(self, cause: str, peer: str) -> None:
        """Count a request that is rejected before the handler sees it, and log at most one per second."""
        if self._rejected is not None:
            self._rejected(cause)
        now = asyncio.get_running_loop().time()
        if now - self._logged_s >= LOG_EVERY_S:
            self._logged_s = now
            logger.warning("a request was rejected before it reached a route: %s, from %s", cause, peer or "unknown")

    def __call__(self) -> Connection:
        """Return the protocol of a new connection, where aiohttp's would be a plain RequestHandler."""
        return Connection(
            self,
            loop=asyncio.get_running_loop(),
            head_timeout_s=self._limits.head_timeout_s,
            idle_timeout_s=self._limits.idle_timeout_s,
            reject=self.reject,
        )

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        connection = cast(Connection, handler)
        if len(self._open) >= self._limits.max_connections * CROWDED:
            self._make_room()
        self._open.add(connection)
        self._unserved.add(connection, connection.peer)
        connection.finishing = self._finishing
        connection.surplus = len(self._open) > self._limits.max_connections
        connection.excess = len(self._open) > self._limits.max_connections + SURPLUS_CONNECTIONS

    def _make_room(self) -> None:
        """Close the longest-idle connection without an accepted report, of the peer with the most of them."""
        closed = self._unserved.take(lambda each: each.is_expendable)
        if closed is not None:
            self._open.discard(closed)  # now: many connections may be made before it is lost
            closed.cut()

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        connection = cast(Connection, handler)
        self._open.discard(connection)
        self._unserved.discard(connection)

    def _take(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        cast(Connection, protocol).begin(payload)
        # An exception here would end aiohttp's loop and leave the connection open. BaseRequest raises where the host of
        # an absolute target is no IDNA, and where there is no target at all: aiohttp 3.14 parses "CONNECT \n" so.
        if not message.path or message.url.absolute:
            message = message._replace(path=message.path or "", url=_NO_URL)
        return web.BaseRequest(message, payload, protocol, writer, task, asyncio.get_running_loop())

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = cast(Connection, request.protocol)
        task = cast(asyncio.Task[Any], asyncio.current_task())
        self._running.add(task)
        try:
            reply, stays = await self._answer(request, connection)
            return KEPT if await connection.reply(request, reply, stays=stays) else ENDED
        finally:
            self._running.discard(task)
            connection.busy = False
            self._unserved.renew(connection)

    async def _answer(self, request: web.BaseRequest, connection: Connection) -> tuple[bytes, bool]:
        """Return the reply's bytes, none where it is written, and whether the connection may stay open after them."""
        minor, method = int(request.version >= (1, 1)), request.method
        if not request.raw_path or not _is_framed(request):
            self.reject("not_http", connection.peer)
            return to_wire(NOT_HTTP), False
        try:
            incoming = self._incoming(request, connection)
            response = await self._handler(incoming)
            if response is None or response.status < 400:  # only verified reports have streamed replies
                self._unserved.discard(connection)
            if response is None:
                return b"", incoming.outgoing.stays
            stays = connection.outlives(request)
            return to_wire(response, minor=minor, keep_alive=stays, method=method), stays
        except Exception:
            logger.exception("a %s request met a bug of the gateway", method)
            stays = connection.outlives(request)
            return to_wire(BUG, minor=minor, keep_alive=stays, method=method), stays

    def _incoming(self, request: web.BaseRequest, connection: Connection) -> Incoming:
        problem = None
        if connection.surplus:
            problem = failure(Reason.OVERLOADED, "too many connections", retry_after_s=1)
        elif _head_bytes(request) > self._limits.max_head_bytes:
            problem = failure(Reason.BAD_HEADER, f"the head is larger than {self._limits.max_head_bytes} bytes")
        elif not _HOST.fullmatch(request.headers.get("Host", "")):
            # Recipes sign the host next to the path: a slash in it would be taken for the path's.
            problem = failure(Reason.BAD_HEADER, "the header Host is not a host")
        return Incoming(request, Outgoing(request, connection), self._scheme, connection.peer, problem)

    def finish(self) -> None:
        """Let every reply from now on close its connection, unless a further request waits behind it."""
        self._finishing = True
        for connection in self._connected():
            connection.finishing = True

    def close_idle(self) -> bool:
        """Close the connections that owe nothing, and tell whether others are left."""
        for connection in self._connected():
            connection.close_if_idle()
        return bool(self._open or self._running)

    async def cut(self) -> None:
        """Cancel what runs and abort what is connected."""
        if self._running:
            for task in self._running:
                task.cancel()
            await asyncio.wait(self._running, timeout=CUT_S)
        for connection in self._connected():
            connection.cut()
        await asyncio.sleep(0)

    def _connected(self) -> list[Connection]:
        return cast(list[Connection], self.connections)


def _is_framed(request: web.BaseRequest) -> bool:
    """Tell whether the end of the body is unambiguous for all servers on the path (RFC 9112, section 6.1)."""
    codings = request.headers.getall("Transfer-Encoding", [])
    if request.version == (1, 0):
        return not codings
    return request.version == (1, 1) and [coding.strip().lower() for coding in codings] in ([], ["chunked"])


def _head_bytes(request: web.BaseRequest) -> int:
    raw = request.raw_headers
    # What separates: " HTTP/1.1" and a blank in the first line, ": " in the others, CR LF behind each and at the end.
    separators = 14 + 4 * len(raw)
    return len(request.method) + len(request.raw_path) + sum(map(len, chain.from_iterable(raw))) + separators


def _origin_form(target: str) -> str:
    """Reduce `http://host/path?query`, which callers behind a proxy setting send, to its path and query."""
    if target.startswith("/") or (absolute := _ABSOLUTE.match(target)) is None:
        return target
    rest = target[absolute.end() :]
    return rest if rest.startswith("/") else "/" + rest


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
