"""HTTP/1.1: from the bytes of one connection to requests.

llhttp (in httptools) finds the parts of a message and rejects invalid ones. This module adds what a server has to
reject beyond that, mostly messages that servers on one path could read differently (RFC 9112, section 11.2), and bounds
the memory of what has not ended.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from gateway.core.http.request import Request
from gateway.core.outcome.outcome import Outcome
from gateway.web.body import Body

if TYPE_CHECKING:
    from gateway.web.connection import Connection

# For a head, and for what may arrive without a byte of a body, such as trailers.
MAX_HEAD_BYTES = 131_072
# Four bytes of header cost some 300 in memory, so their number is bounded too.
MAX_HEADERS = 1024

_HOST = re.compile(r"(?:[\w.~%!$&'()*+,;=-]*|\[[0-9A-Fa-f:.]+\])(?::\d*)?")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?([^/?#]*)")
# Headers that a request may have once.
_SINGLE: tuple[str, ...] = ("content-length", "content-location", "content-range", "content-type")
_SINGLE += ("host", "max-forwards", "transfer-encoding", "user-agent")


class NotHttp(Exception):
    """Invalid bytes, after which the connection cannot be parsed further."""

    def __init__(self, cause: str = "not_http") -> None:
        super().__init__(cause)
        self.cause = cause


@dataclass(slots=True, eq=False)
class Incoming:
    """A request whose head has arrived.

    `request` is as on the wire, without the body; an absolute target is reduced to path and query. `minor` is the minor
    version of HTTP/1. `keep_alive` is set if the connection can serve another request. `problem` is an outcome that the
    handler has to reply with immediately. `peer` is the caller's IP address, or ''.
    """

    request: Request
    minor: int
    keep_alive: bool
    head_bytes: int
    body: Body
    connection: "Connection" = field(init=False)
    peer: str = ""
    problem: Outcome | None = None


class RequestParser:
    """Calls `on_request` for each head; the request's body then fills as `feed` is called. `body` is the last one.

    `on_read` is called when the handler begins to read a body. `in_head` is set while a head is incomplete.
    """

    def __init__(
        self, on_request: Callable[[Incoming], None], on_read: Callable[[Body], None], scheme: str = "http"
    ) -> None:
        self._on_request = on_request
        self._on_read = on_read
        self._scheme = scheme
        self._llhttp = HttpRequestParser(self)
        self.in_head = False
        self.body = Body(0, False, on_read)
        self.body.end()
        self._target = b""
        self._headers: list[tuple[str, str]] = []
        self._head_bytes = 0
        self._unused_bytes = 0
        self._is_last = False
        self._ended = False
        self._skipped_framing: bytes | None = None

    def feed(self, data: bytes) -> None:
        """Parse the next bytes. Raises NotHttp; then nothing more can be fed."""
        size = len(data)
        while data and not self._ended:
            try:
                self._llhttp.feed_data(data)
                break
            except HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                self._decline_upgrade()
            except HttpParserError as error:
                if self._ended:  # data behind a request that closes the connection
                    break
                raise error.__context__ if isinstance(error.__context__, NotHttp) else NotHttp from None
        self._unused_bytes += size
        if self._unused_bytes > MAX_HEAD_BYTES:
            raise NotHttp("head_too_long" if self.in_head else "not_http")

    def _decline_upgrade(self) -> None:
        """Go on after a request that asks for another protocol. llhttp leaves out the body of such a request, so a new
        parser reads it as that of a request with the same framing."""
        if self._skipped_framing is not None:
            self._llhttp = HttpRequestParser(self)
            self._llhttp.feed_data(b"POST / HTTP/1.1\r\nHost: h\r\n%b\r\n\r\n" % self._skipped_framing)
            self._skipped_framing = None

    # Callbacks of httptools.

    def on_message_begin(self) -> None:
        if self._skipped_framing is None:
            self.in_head = True
            self._target, self._headers, self._head_bytes = b"", [], 0

    def on_url(self, url: bytes) -> None:
        if self.in_head:
            self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.in_head:  # else it is a trailer
            text = value.strip(b" \t").decode("utf-8", "surrogateescape")
            self._headers.append((name.decode("utf-8", "surrogateescape"), text))
            self._head_bytes += len(name) + len(value)
            if len(self._headers) > MAX_HEADERS:
                raise NotHttp("head_too_long")

    def on_headers_complete(self) -> None:
        self._unused_bytes = 0
        if not self.in_head:
            return
        self.in_head = False
        incoming = self._incoming()
        self._is_last, self.body = not incoming.keep_alive, incoming.body
        self._on_request(incoming)

    def on_body(self, data: bytes) -> None:
        self._unused_bytes = 0
        self.body.append(data)

    def on_message_complete(self) -> None:
        if self._skipped_framing is None:
            self._ended = self._is_last
            self.body.end()

    def _incoming(self) -> Incoming:
        method, version = self._llhttp.get_method().decode(), self._llhttp.get_http_version()
        # Separators: " HTTP/1.1" and a space in the first line, ": " in others, CR LF after each and at the end.
        head_bytes = len(method) + len(self._target) + self._head_bytes + 14 + 4 * len(self._headers)
        if head_bytes > MAX_HEAD_BYTES:
            raise NotHttp("head_too_long")
        target = _origin_form(self._target.decode("utf-8", "surrogateescape"))
        request = Request(method, target, tuple(self._headers), scheme=self._scheme)
        found = request.header_index
        coding, length = request.header("transfer-encoding"), request.header("content-length") or "0"
        allowed = (None, "chunked") if version == "1.1" else (None,)
        coding = None if coding is None else coding.lower()
        if version not in ("1.0", "1.1") or coding not in allowed or (version == "1.1" and "host" not in found):
            raise NotHttp
        if len(found) < len(self._headers) and any(len(found.get(name, ())) > 1 for name in _SINGLE):
            raise NotHttp
        if self._llhttp.should_upgrade() and (coding or int(length)):
            framing = "Transfer-Encoding: chunked" if coding else f"Content-Length: {length}"
            self._skipped_framing = framing.encode()
        expects = version == "1.1" and "expect" in found and found["expect"][-1].lower() == "100-continue"
        return Incoming(
            request,
            minor=int(version == "1.1"),
            keep_alive=self._llhttp.should_keep_alive(),
            head_bytes=head_bytes,
            body=Body(None if coding else int(length), expects, self._on_read),
        )


@lru_cache(maxsize=64)
def is_host(text: str) -> bool:
    """Whether a text is a valid value of the header Host."""
    return _HOST.fullmatch(text) is not None


def _origin_form(target: str) -> str:
    """Reduce `http://host/path?query`, which callers behind a proxy setting send, to its path and query."""
    if target.startswith("/"):
        return target
    absolute = _ABSOLUTE.match(target)
    if not target or (absolute is not None and not is_host(absolute[1])):
        raise NotHttp
    if absolute is None:
        return target
    rest = target[absolute.end() :]
    return rest if rest.startswith("/") else "/" + rest
