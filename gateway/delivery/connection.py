"""One HTTP/1.1 connection to an upstream, which carries one request at a time.

    new     connected; nothing was sent yet
    head    a request was sent; its answer's head is awaited, after at most MAX_INTERIM_ANSWERS informational answers
    body    the head has arrived; the body is read, while it arrives
    end     the answer is complete; the connection may carry the next request
    failed  no more can be read; `_failure` is the cause

llhttp (in httptools) parses the answers. Bytes that arrive without a request end the connection: they would be read as
the answer to the next one. A body that is not read pauses the connection.
"""

import asyncio
import os
import ssl
from typing import cast

from httptools import HttpParserError, HttpResponseParser

from gateway.core.http.request import Headers
from gateway.core.outcome.errors import UpstreamError
from gateway.core.outcome.outcome import Reason
from gateway.tls import reason_of

# A call fails after this many 1xx answers to one request.
MAX_INTERIM_ANSWERS = 16
# For a head, and for what may arrive without a byte of a body, such as trailers and chunk extensions.
MAX_HEAD_BYTES = 131_072
MAX_HEADERS = 1024
# Of a body that is not read. The transport delivers up to 256 KiB at once.
MAX_BUFFERED_BYTES = 65_536

NEW, HEAD, BODY, END, FAILED = range(5)


class Connection(asyncio.Protocol):
    """`address` begins the messages of errors. `status` and `headers` are those of the current answer.

    `read_timeout_s` limits each wait for more of the current answer's body; None if the whole answer has a deadline.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = HttpResponseParser(self)
        # As tolerant of servers as aiohttp is.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._state = NEW
        self._failure: UpstreamError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._keep_alive = True
        self._is_head_request = False
        self._has_begun = False  # a byte of a head has arrived
        self._is_paused = False
        self._interim_answers = 0
        self._unused_bytes = 0
        self._raw_headers: list[tuple[bytes, bytes]] = []
        self._chunks: list[bytes] = []
        self.status = 0
        self.headers: Headers = ()
        self.read_timeout_s: float | None = None

    @property
    def is_reusable(self) -> bool:
        """Whether the answer was read to its end, and the connection can carry another request."""
        transport = self._transport
        if self._state != END or self._chunks or not self._keep_alive or transport is None or transport.is_closing():
            return False
        return not transport.get_write_buffer_size()

    @property
    def length(self) -> int | None:
        """The declared length of the answer's body, or None."""
        found = {name.lower(): value for name, value in self.headers}
        length = found.get("content-length", "")
        return None if "transfer-encoding" in found or not length.isdigit() else int(length)

    async def send(self, request: bytes, method: str) -> None:
        """Send a request, and wait for the head of its answer. Raises UpstreamError."""
        if self._failure is None:
            assert self._transport is not None
            self._state = HEAD
            self._is_head_request = method == "HEAD"
            self._has_begun = False
            self._interim_answers = self._unused_bytes = self.status = 0
            self._raw_headers = []
            self.read_timeout_s = None
            self._transport.write(request)
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._failure is not None and not self.status:  # else `read` raises it, after the body that arrived
            raise self._failure

    def take_whole(self) -> bytes | None:
        """Return the body if all of it has arrived, else None."""
        if self._state != END or self._is_paused or len(self._chunks) > 1:
            return None
        return self._chunks.pop() if self._chunks else b""

    async def read(self) -> bytes:
        """Return the next part of the body, still compressed; b"" at the end. Raises UpstreamError."""
        if not self._chunks and self._state == BODY:
            timer = None
            if self.read_timeout_s is not None:
                what = f"no more of the answer within {round(self.read_timeout_s, 3):g} s"
                timer = self._loop.call_later(self.read_timeout_s, self.fail, Reason.UPSTREAM_TIMEOUT, what)
            try:
                while not self._chunks and self._state == BODY:
                    await self._wait()
            finally:
                if timer is not None:
                    timer.cancel()
        if not self._chunks:
            if self._failure is not None:
                raise self._failure
            return b""
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks = []
        if self._is_paused:
            self._pause_reading(False)
        return data

    def fail(self, reason: Reason, what: str) -> None:
        """End the connection, and the answer that is being read."""
        if self._state not in (END, FAILED):
            self._state = FAILED
            self._failure = UpstreamError.of(reason, f"{self._address}: {what}")
        self.abort()
        self._wake()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _pause_reading(self, pause: bool) -> None:
        self._is_paused = pause
        if self._transport is not None and not self._transport.is_closing():
            (self._transport.pause_reading if pause else self._transport.resume_reading)()

    # Callbacks of asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._state in (NEW, END):
            self.fail(Reason.UPSTREAM_GARBLED, "the answer is not HTTP")
            return
        self._unused_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserError:
            self.fail(Reason.UPSTREAM_GARBLED, "the answer is not HTTP")
            return
        if self._unused_bytes > MAX_HEAD_BYTES and self._state != END:
            self.fail(Reason.UPSTREAM_GARBLED, f"the answer is not HTTP: over {MAX_HEAD_BYTES} bytes without a body")
        elif self._state != HEAD:
            if self._state == BODY and not self._is_paused and sum(map(len, self._chunks)) > MAX_BUFFERED_BYTES:
                self._pause_reading(True)
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        del self._parser  # it refers to this object
        if isinstance(exc, ssl.SSLError):
            self.fail(Reason.UPSTREAM_DOWN, f"TLS failed ({reason_of(exc)})")
        elif self._state == BODY and exc is None and self._ends_with_connection():
            self._state = END
            self._wake()
        elif self._state == BODY or self._has_begun:
            self.fail(Reason.UPSTREAM_GARBLED, "the answer broke off")
        elif isinstance(exc, OSError) and exc.errno:
            self.fail(Reason.UPSTREAM_DOWN, os.strerror(exc.errno).lower())
        else:
            self.fail(Reason.UPSTREAM_DOWN, "closed the connection without an answer")

    def _ends_with_connection(self) -> bool:
        """Whether the body has neither a length nor chunks (RFC 9112, section 6.3)."""
        found = {name.lower(): value for name, value in self._raw_headers}
        coding = found.get(b"transfer-encoding", b"").strip(b" \t").lower()
        return b"content-length" not in found and not coding.endswith(b"chunked")

    # Callbacks of httptools.

    def on_message_begin(self) -> None:
        self._has_begun = True
        if self._state == END:
            self._keep_alive = False  # an answer without a request

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._state == HEAD:  # else it is a trailer
            self._raw_headers.append((name, value))
            if len(self._raw_headers) > MAX_HEADERS:
                self.fail(Reason.UPSTREAM_GARBLED, f"the answer has over {MAX_HEADERS} headers")

    def on_headers_complete(self) -> None:
        if self._state != HEAD:
            return
        status = self._parser.get_status_code()
        self._unused_bytes = 0
        if status == 101:
            self.fail(Reason.UPSTREAM_GARBLED, "switched to another protocol unasked")
        elif status < 200:
            self._raw_headers = []
            self._has_begun = False
            self._interim_answers += 1
            if self._interim_answers > MAX_INTERIM_ANSWERS:
                what = f"more than {MAX_INTERIM_ANSWERS} informational (1xx) answers"
                self.fail(Reason.UPSTREAM_GARBLED, what)
        else:
            self.status = status
            self.headers = tuple(
                [
                    (name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape").strip(" \t"))
                    for name, value in self._raw_headers
                ]
            )
            self._state = END if self._is_head_request else BODY
            self._keep_alive = not self._is_head_request  # llhttp would read the next head as a body

    def on_body(self, data: bytes) -> None:
        self._unused_bytes = 0
        if self._state == BODY:
            self._chunks.append(data)

    def on_message_complete(self) -> None:
        if self._state == BODY:
            self._state = END
            self._keep_alive = self._parser.should_keep_alive()
