"""HTTP client: sends a signed request byte for byte and translates every failure into an UpstreamError.

A request that may have reached the upstream is never sent again. `core/outcome` classifies the answers.
"""

import asyncio
import errno
import io
import os
import ssl
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar, Protocol
from weakref import WeakSet

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.typedefs import LooseHeaders
from yarl import URL

from gateway.core.http.request import Headers, Request, Response, without_headers
from gateway.core.http.url import address_of
from gateway.core.outcome.errors import GatewayError, SpecError, UpstreamError
from gateway.core.outcome.outcome import Reason
from gateway.tls import client_context, reason_of

CONNECT_AGAIN_AFTER_S = (0.05, 0.2)
# Common servers close idle connections after 5 s; a request sent into that moment would be lost.
MAX_IDLE_S = 4
ONE_WRITE_BYTES = 1_048_576
# Errors of aiohttp, the system and zlib; `_translated` maps each to one of ours.
_FOREIGN = (aiohttp.ClientError, OSError, ValueError, zlib.error)
# A call fails after this many 1xx answers to one request.
MAX_INTERIM_ANSWERS = 16
AUTO_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """`connect_s` covers one attempt to connect, `total_s` everything up to the last byte of the answer.

    For a streamed answer, `total_s` ends with its head, and `more_s` covers each wait for more of the body.
    """

    connect_s: float = 2
    total_s: float = 5
    more_s: float = 5


class Sender(Protocol):
    """Sends one request and returns its answer; raises as `Client.send`."""

    async def send(self, request: Request, *, timeouts: Timeouts, tls: ssl.SSLContext | None = None) -> Response: ...


class Client:
    """Sends requests over one pool of connections. Create it inside the running loop."""

    def __init__(
        self,
        *,
        max_reply_bytes: int = 1_048_576,
        max_connections: int = 256,
        max_idle_s: float = MAX_IDLE_S,
    ) -> None:
        """`max_connections` is per upstream, so that a hanging one cannot exhaust the connections of the others."""
        self._max_reply_bytes = max_reply_bytes
        connector = aiohttp.TCPConnector(limit=0, limit_per_host=max_connections, keepalive_timeout=max_idle_s)
        # aiohttp has no public way to choose the protocol of its connections.
        connector._factory = partial(_Protocol, asyncio.get_running_loop())  # type: ignore[assignment]  # partial is invariant
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            # aiohttp accepts truncated gzip bodies; see `_inflated`.
            auto_decompress=False,
            skip_auto_headers=AUTO_HEADERS,
            request_class=_ExactRequest,
        )
        # If a kept-alive connection breaks, aiohttp repeats GET, PUT and DELETE, which the upstream may already have
        # processed. There is no public switch.
        self._session._retry_connection = False

    async def send(self, request: Request, *, timeouts: Timeouts, tls: ssl.SSLContext | None = None) -> Response:
        """Send the request to its own URL and return the whole answer, with any status.

        Without `tls`, the system's trust store applies. Requests with the same `tls` object share connections.
        Raises UpstreamError without an answer, and SpecError if the request is not valid HTTP.
        """
        try:
            async with asyncio.timeout(timeouts.total_s) as deadline:
                async with await self._connect_and_send(request, timeouts, tls, deadline) as answer:
                    return await self._whole(answer, request)
        except _FOREIGN as error:
            # Not `from error`: aiohttp's messages contain the URL and headers, which a traceback would show.
            raise _translated(error, request, timeouts) from None

    @asynccontextmanager
    async def stream(
        self, request: Request, *, timeouts: Timeouts, tls: ssl.SSLContext | None = None
    ) -> AsyncIterator["Answer"]:
        """Send the request to its own URL and yield the answer after its head; the caller reads the body.

        An unread rest closes the connection. Raises as `send`.
        """
        try:
            async with asyncio.timeout(timeouts.total_s) as deadline:
                answer = await self._connect_and_send(request, timeouts, tls, deadline)
        except _FOREIGN as error:
            raise _translated(error, request, timeouts) from None
        async with answer:
            if answer.status < 200:
                raise _failure(request, Reason.UPSTREAM_GARBLED, "switched to another protocol unasked")
            yield Answer(answer, request, timeouts)

    async def close(self) -> None:
        await self._session.close()

    async def _connect_and_send(
        self, request: Request, timeouts: Timeouts, tls: ssl.SSLContext | None, deadline: asyncio.Timeout
    ) -> aiohttp.ClientResponse:
        """Repeat failed connection attempts. ClientConnectorError is only raised before the first byte."""
        for pause_s in CONNECT_AGAIN_AFTER_S:
            try:
                return await self._send(request, timeouts, tls)
            except aiohttp.ClientSSLError:
                raise
            except aiohttp.ClientConnectorError:
                if _has_passed(deadline, in_s=pause_s):
                    raise
                await asyncio.sleep(pause_s)
        return await self._send(request, timeouts, tls)

    async def _send(self, request: Request, timeouts: Timeouts, tls: ssl.SSLContext | None) -> aiohttp.ClientResponse:
        body = request.body
        return await self._session.request(
            request.method,
            _url(request),
            headers=request.headers,
            # aiohttp warns of large bytes; None omits the body headers.
            data=io.BytesIO(body) if len(body) > ONE_WRITE_BYTES else body or None,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=timeouts.connect_s),
            ssl=tls or (self._system_trust if request.scheme == "https" else True),
        )

    @cached_property
    def _system_trust(self) -> ssl.SSLContext:
        return client_context(None)

    async def _whole(self, answer: aiohttp.ClientResponse, request: Request) -> Response:
        chunks, size = [], 0
        while chunk := await answer.content.readany():
            size += len(chunk)
            if size > self._max_reply_bytes:
                raise self._too_large(request)
            chunks.append(chunk)
        body, headers = b"".join(chunks), _headers(answer)
        encoding = answer.headers.get("Content-Encoding", "").lower()
        if body and encoding in ("gzip", "x-gzip", "deflate"):
            body = self._inflated(body, encoding, request)
            headers = without_headers(headers, "content-encoding", "content-length")
        return Response(answer.status, headers, body)

    def _inflated(self, body: bytes, encoding: str, request: Request) -> bytes:
        """Inflate one gzip member or one deflate stream, up to `max_reply_bytes`."""
        # Some servers omit the zlib header (RFC 9110 section 8.4.1.2), whose first byte ends in 8.
        bare = encoding == "deflate" and body[0] & 0x0F != 8
        stream = zlib.decompressobj(-zlib.MAX_WBITS if bare else 32 + zlib.MAX_WBITS)
        inflated = stream.decompress(body, self._max_reply_bytes + 1)
        if len(inflated) > self._max_reply_bytes:
            raise self._too_large(request)
        if not stream.eof or stream.unused_data:
            raise zlib.error
        return inflated

    def _too_large(self, request: Request) -> UpstreamError:
        return _failure(request, Reason.UPSTREAM_GARBLED, f"the answer is over {self._max_reply_bytes} bytes")


class Answer:
    """The head of a streamed answer. `read` returns its body, still compressed; `length` is None if not declared."""

    def __init__(self, answer: aiohttp.ClientResponse, request: Request, timeouts: Timeouts) -> None:
        self._content = answer.content
        self._request = request
        self._timeouts = timeouts
        self.status = answer.status
        self.headers = _headers(answer)
        self.length = None if "Transfer-Encoding" in answer.headers else answer.content_length

    async def read(self) -> bytes:
        """Return the next part of the body, empty at the end. Raises UpstreamError."""
        try:
            async with asyncio.timeout(self._timeouts.more_s):
                return await self._content.readany()
        except TimeoutError:
            what = f"no more of the answer within {round(self._timeouts.more_s, 3):g} s"
            raise _failure(self._request, Reason.UPSTREAM_TIMEOUT, what) from None
        except _FOREIGN as error:
            raise _translated(error, self._request, self._timeouts) from None


class _TooManyAnswers(aiohttp.ClientError):
    """The upstream sent too many answers to one request."""


class _Protocol(ResponseHandler):
    """Limits the answers to one request: aiohttp skips and buffers any number of 1xx answers."""

    def set_response_params(self, **params: Any) -> None:
        self._answers_left = MAX_INTERIM_ANSWERS + 1
        super().set_response_params(**params)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Accept a parsed head; the parser may find many in one segment."""
        self._answers_left -= 1
        if self._answers_left >= 0:
            super().feed_data(data, size)
        elif self.transport is not None:
            self.abort()
            self.set_exception(_TooManyAnswers())


class _ExactRequest(aiohttp.ClientRequest):
    """Sends the headers in the given order, which aiohttp changes, and discards unsolicited answers."""

    _used: ClassVar[WeakSet[ResponseHandler]] = WeakSet()

    def update_headers(self, headers: LooseHeaders | None) -> None:
        super().update_headers(None)
        self.headers.clear()
        self.headers.extend(headers or ())
        # aiohttp silently drops lone surrogates, which would change the signed request.
        "".join((self.url.raw_path, *self.headers.values())).encode()

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        # Bytes that the upstream wrote on the idle connection would be read as the answer to this request.
        protocol = conn.protocol
        if protocol is not None:
            if protocol in self._used and protocol.should_close:
                raise aiohttp.ClientConnectorError(self.connection_key, OSError(errno.ECONNRESET, ""))
            self._used.add(protocol)
        return await super().send(conn)


def _url(request: Request) -> URL:
    """Return a URL whose path is the whole target, since yarl would drop a bare '?' and '#...'."""
    target = request.target if request.target.startswith("/") else "/" + request.target
    return URL.build(scheme=request.scheme, authority=request.host, path=target, encoded=True)


def _has_passed(deadline: asyncio.Timeout, *, in_s: float) -> bool:
    when = deadline.when()
    return when is not None and asyncio.get_running_loop().time() + in_s >= when


def _headers(answer: aiohttp.ClientResponse) -> Headers:
    text = partial(str, encoding="utf-8", errors="surrogateescape")
    return tuple([(text(name), text(value)) for name, value in answer.raw_headers])


def _failure(request: Request, reason: Reason, what: str) -> UpstreamError:
    return UpstreamError.of(reason, f"{address_of(request.scheme, request.host)}: {what}")


def _translated(error: Exception, request: Request, timeouts: Timeouts) -> GatewayError:
    """Translate an error of aiohttp, the system or zlib, whose message may contain secrets."""
    match error:
        case aiohttp.ConnectionTimeoutError():
            reason, what = Reason.UPSTREAM_TIMEOUT, f"no connection within {round(timeouts.connect_s, 3):g} s"
        case TimeoutError():
            reason, what = Reason.UPSTREAM_TIMEOUT, f"no answer within {round(timeouts.total_s, 1):g} s"
        case aiohttp.ClientConnectorDNSError():
            reason, what = Reason.UPSTREAM_DOWN, "the name does not resolve"
        case OSError():
            reason, what = Reason.UPSTREAM_DOWN, _system_text(error)
        case aiohttp.ServerDisconnectedError() if isinstance(error.message, str):
            reason, what = Reason.UPSTREAM_DOWN, "closed the connection without an answer"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError():
            reason, what = Reason.UPSTREAM_GARBLED, "the answer broke off"
        case aiohttp.ClientResponseError():
            reason, what = Reason.UPSTREAM_GARBLED, "the answer is not HTTP"
        case _TooManyAnswers():
            reason, what = Reason.UPSTREAM_GARBLED, f"more than {MAX_INTERIM_ANSWERS} informational (1xx) answers"
        case zlib.error():
            reason, what = Reason.UPSTREAM_GARBLED, "the answer's compressed data is damaged"
        case ValueError():
            what = "the request cannot be sent: its address, method or a header is malformed"
            return SpecError.of(Reason.INTERNAL, f"{address_of(request.scheme, request.host)}: {what}")
        case _:
            reason, what = Reason.UPSTREAM_DOWN, "the connection failed"
    return _failure(request, reason, what)


def _system_text(error: OSError) -> str:
    if isinstance(error.__cause__, ssl.SSLError):
        return f"TLS failed ({reason_of(error.__cause__)})"
    if error.errno:
        # Not `error.strerror`: aiohttp may include the URL, and with it a signature in the query.
        return os.strerror(error.errno).lower()
    return "cannot connect" if isinstance(error, aiohttp.ClientConnectorError) else "closed the connection"
