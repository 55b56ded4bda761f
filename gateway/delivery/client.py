"""HTTP client: sends a signed request byte for byte, and describes every failure in an UpstreamError.

A request that may have reached the upstream is never sent again. `core/outcome` classifies the answers.
"""

import asyncio
import math
import os
import re
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import cached_property, lru_cache, partial
from typing import Any, Protocol

from cachetools import TTLCache

from gateway.core.http.request import Request, Response, without_headers
from gateway.core.http.url import address_of
from gateway.core.outcome.errors import SpecError, UpstreamError
from gateway.core.outcome.outcome import Reason
from gateway.core.record import record
from gateway.delivery.connection import Connection
from gateway.delivery.pool import Pool
from gateway.tls import client_context, reason_of

CONNECT_AGAIN_AFTER_S = (0.05, 0.2)
# Common servers close idle connections after 5 s; a request sent into that moment would be lost.
MAX_IDLE_S = 4
# How long the addresses of a name are used, and of how many names.
RESOLVED_S = 10
MAX_RESOLVED = 1000
# Methods whose requests without a body do not say so (RFC 9110, section 8.6).
WITHOUT_BODY = ("GET", "HEAD", "OPTIONS", "TRACE")
_REQUEST_LINE = re.compile(r"[\w!#$%&'*+.^`|~-]+ [^\0-\x20]+ HTTP/1\.1", re.ASCII)


@record
class Timeouts:
    """`connect_s` covers one attempt to connect, `total_s` everything up to the last byte of the answer.

    For a streamed answer, `total_s` ends with its head, and `more_s` covers each wait for more of the body.
    """

    connect_s: float = 2
    total_s: float = 5
    more_s: float = 5


class Sender(Protocol):
    """Sends one request and returns its answer; raises as `Client.send`."""

    def send(
        self, request: Request, *, timeouts: Timeouts, tls: ssl.SSLContext | None = None
    ) -> Coroutine[Any, Any, Response]: ...


class Client:
    """Sends requests over pools of connections, one for each upstream. Create it inside the running loop."""

    def __init__(self, *, max_reply_bytes: int = 1_048_576, max_idle_s: float = MAX_IDLE_S) -> None:
        self._max_reply_bytes = max_reply_bytes
        self._max_idle_s = max_idle_s
        self._loop = asyncio.get_running_loop()
        self._pools: dict[tuple[str, str, ssl.SSLContext | None], Pool] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self._lookups: TTLCache[tuple[str, int], asyncio.Future[Any]] = TTLCache(MAX_RESOLVED, RESOLVED_S)

    async def send(self, request: Request, *, timeouts: Timeouts, tls: ssl.SSLContext | None = None) -> Response:
        """Send the request to its own URL and return the whole answer, with any status.

        Without `tls`, the system's trust store applies. Requests with the same `tls` object share connections.
        Raises UpstreamError without an answer, and SpecError if the request is not valid HTTP.
        """
        now = self._loop.time()
        wire, pool = self._prepare(request, tls)
        connection = pool.take(now - self._max_idle_s) or await self._connect(pool, timeouts, now + timeouts.total_s)
        timer = self._loop.call_at(now + timeouts.total_s, _time_out, connection, timeouts)
        try:
            await connection.send(wire, request.method)
            body = connection.take_whole()
            if body is None:
                body = await self._read_whole(connection)
            return self._answer(connection, body, pool.address)
        finally:
            timer.cancel()
            pool.put_back(connection, self._loop.time())

    @asynccontextmanager
    async def stream(
        self, request: Request, *, timeouts: Timeouts, tls: ssl.SSLContext | None = None
    ) -> AsyncIterator[Connection]:
        """Send the request to its own URL and yield the connection after the head of the answer; the caller reads it.

        An unread rest closes the connection. Raises as `send`.
        """
        now = self._loop.time()
        wire, pool = self._prepare(request, tls)
        connection = pool.take(now - self._max_idle_s) or await self._connect(pool, timeouts, now + timeouts.total_s)
        timer = self._loop.call_at(now + timeouts.total_s, _time_out, connection, timeouts)
        try:
            await connection.send(wire, request.method)
            timer.cancel()
            connection.read_timeout_s = timeouts.more_s
            yield connection
        finally:
            timer.cancel()
            pool.put_back(connection, self._loop.time())

    async def close(self) -> None:
        """Close the idle connections. No request may be under way."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        for pool in self._pools.values():
            pool.close_idle(math.inf)
        await asyncio.sleep(0)  # a transport closes in the next iteration of the loop

    def _prepare(self, request: Request, tls: ssl.SSLContext | None) -> tuple[bytes, Pool]:
        """Return the bytes of the request, and the pool of its upstream. Raises SpecError."""
        host = next((value for name, value in request.headers if name.lower() == "host"), "")
        try:
            return to_wire(request, host), self._pool(request.scheme, host, tls)
        except ValueError:
            raise _malformed(address_of(request.scheme, host)) from None

    def _pool(self, scheme: str, host: str, tls: ssl.SSLContext | None) -> Pool:
        if scheme == "https" and tls is None:
            tls = self._system_trust
        key = (scheme, host, tls)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool(scheme, host, tls if scheme == "https" else None)
            if self._sweeping is None:
                self._sweeping = self._loop.call_later(self._max_idle_s, self._sweep)
        return pool

    @cached_property
    def _system_trust(self) -> ssl.SSLContext:
        return client_context(None)

    def _sweep(self) -> None:
        """Close connections that are idle for long, and forget pools without connections."""
        for key, pool in list(self._pools.items()):
            pool.close_idle(self._loop.time() - self._max_idle_s)
            if not pool.idle and not pool.in_use:
                del self._pools[key]
        self._sweeping = self._loop.call_later(self._max_idle_s, self._sweep) if self._pools else None

    async def _connect(self, pool: Pool, timeouts: Timeouts, deadline: float) -> Connection:
        """Open a connection; try again if that fails. Raises UpstreamError, and SpecError for a malformed name."""
        connection = None
        try:
            connection = await self._connect_repeatedly(pool, timeouts, deadline)
            return connection
        except ValueError:
            raise _malformed(pool.address) from None
        finally:
            if connection is None:
                pool.put_back(None, 0)

    async def _connect_repeatedly(self, pool: Pool, timeouts: Timeouts, deadline: float) -> Connection:
        pauses_s = iter(CONNECT_AGAIN_AFTER_S)
        while True:
            left_s = deadline - self._loop.time()
            try:
                async with asyncio.timeout(min(timeouts.connect_s, left_s)):
                    return await pool.connect(self._resolve)
            except TimeoutError:
                if left_s > timeouts.connect_s:
                    what = f"no connection within {round(timeouts.connect_s, 3):g} s"
                else:
                    what = _no_answer(timeouts)
                raise UpstreamError.of(Reason.UPSTREAM_TIMEOUT, f"{pool.address}: {what}") from None
            except OSError as error:
                pause_s = None if isinstance(error, ssl.SSLError) else next(pauses_s, None)
                if pause_s is None or self._loop.time() + pause_s >= deadline:
                    raise UpstreamError.of(Reason.UPSTREAM_DOWN, f"{pool.address}: {_system_text(error)}") from None
            await asyncio.sleep(pause_s)

    async def _resolve(self, name: str, port: int) -> Sequence[Any]:
        """Return the addresses of a name. Calls share a look-up: few threads make those of all upstreams."""
        lookup = self._lookups.get((name, port))
        if lookup is None:
            found = self._loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
            lookup = self._lookups[name, port] = asyncio.ensure_future(found)  # noqa: TID251 - the calls await it
            lookup.add_done_callback(partial(self._forget_failure, (name, port)))
        addresses: Sequence[Any] = await asyncio.shield(lookup)
        return addresses

    def _forget_failure(self, key: tuple[str, int], lookup: asyncio.Future[Any]) -> None:
        if lookup.cancelled() or lookup.exception() is not None:
            self._lookups.pop(key, None)

    async def _read_whole(self, connection: Connection) -> bytes:
        """Return the body, with one part more than the maximum at most."""
        chunks: list[bytes] = []
        size = 0
        while size <= self._max_reply_bytes and (more := await connection.read()):
            chunks.append(more)
            size += len(more)
        return b"".join(chunks)

    def _answer(self, connection: Connection, body: bytes, address: str) -> Response:
        headers = connection.headers
        if len(body) <= self._max_reply_bytes and body:
            encoding = ""
            for name, value in headers:
                if name.lower() == "content-encoding":
                    encoding = value.lower()
                    break
            if encoding in ("gzip", "x-gzip", "deflate"):
                try:
                    body = _inflated(body, encoding, self._max_reply_bytes)
                except zlib.error:
                    what = f"{address}: the answer's compressed data is damaged"
                    raise UpstreamError.of(Reason.UPSTREAM_GARBLED, what) from None
                headers = without_headers(headers, "content-encoding", "content-length")
        if len(body) > self._max_reply_bytes:
            what = f"{address}: the answer is over {self._max_reply_bytes} bytes"
            raise UpstreamError.of(Reason.UPSTREAM_GARBLED, what)
        return Response(connection.status, headers, body)


def to_wire(request: Request, host: str) -> bytes:
    """Return the bytes of a request, with a Content-Length if it has none. Raises ValueError if it is not HTTP."""
    if not host:
        raise ValueError("no host")
    body = request.body
    lines = [_request_line(request.method, request.target)]
    has_length = False
    for name, value in request.headers:
        lines.append(f"{name}: {value}")
        lower = name.lower()
        if lower == "content-length":
            has_length = True
        elif lower == "transfer-encoding":
            raise ValueError("the body has a length")
    if not has_length and (body or request.method not in WITHOUT_BODY):
        lines.append(f"Content-Length: {len(body)}")
    text = "\r\n".join(lines)
    if text.count("\r") != len(lines) - 1 or text.count("\n") != len(lines) - 1 or "\0" in text:
        raise ValueError("a line break in a header")
    return b"%b\r\n\r\n%b" % (text.encode(), body)


@lru_cache(maxsize=1024)
def _request_line(method: str, target: str) -> str:
    line = f"{method} {target if target.startswith('/') else '/' + target} HTTP/1.1"
    if not _REQUEST_LINE.fullmatch(line):
        raise ValueError("not a request line")
    return line


def _malformed(address: str) -> SpecError:
    what = "the request cannot be sent: its address, method or a header is malformed"
    return SpecError.of(Reason.INTERNAL, f"{address}: {what}")


def _time_out(connection: Connection, timeouts: Timeouts) -> None:
    connection.fail(Reason.UPSTREAM_TIMEOUT, _no_answer(timeouts))


def _no_answer(timeouts: Timeouts) -> str:
    return f"no answer within {round(timeouts.total_s, 1):g} s"


def _inflated(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Inflate one gzip member or one deflate stream, up to a byte more than `max_bytes`. Raises zlib.error."""
    # Some servers omit the zlib header (RFC 9110 section 8.4.1.2), whose first byte ends in 8.
    bare = encoding == "deflate" and body[0] & 0x0F != 8
    stream = zlib.decompressobj(-zlib.MAX_WBITS if bare else 32 + zlib.MAX_WBITS)
    inflated = stream.decompress(body, max_bytes + 1)
    if len(inflated) <= max_bytes and (not stream.eof or stream.unused_data):
        raise zlib.error
    return inflated


def _system_text(error: OSError) -> str:
    """Describe why no connection could be opened."""
    if isinstance(error, socket.gaierror):
        return "the name does not resolve"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({reason_of(error)})"
    return os.strerror(error.errno).lower() if error.errno else "cannot connect"
