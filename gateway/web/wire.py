"""From a reply to bytes: status line, headers, framing and body."""

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from gateway.core.http.request import Headers, Response

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_FRAMING = frozenset({"connection", "keep-alive", "content-length", "transfer-encoding"})


def to_wire(response: Response, *, minor: int = 1, keep_alive: bool = False, method: str = "GET") -> bytes:
    """Return the reply as HTTP/1.<minor>. Framing headers are replaced, other headers are kept.

    Raises ValueError for a control character in a header (response splitting).
    """
    if not has_length(response.status):
        return to_wire_head(response.status, response.headers, None, minor=minor, keep_alive=keep_alive)
    framing = f"Content-Length: {len(response.body)}"
    head = to_wire_head(response.status, response.headers, framing, minor=minor, keep_alive=keep_alive)
    return head if method == "HEAD" else head + response.body


def to_wire_head(status: int, headers: Headers, framing: str | None, *, minor: int, keep_alive: bool) -> bytes:
    """Return the head of a reply; `framing` is its framing header. Raises ValueError as `to_wire` does."""
    # Most replies are constant, except for the request id at the end of their headers.
    name, value = headers[-1] if headers else ("", "")
    if name == "X-Request-Id" and value.isalnum():
        start = _head(status, headers[:-1], framing, minor, keep_alive, int(time.time()))
        return b"%b\r\nX-Request-Id: %b\r\n\r\n" % (start, value.encode())
    return _head(status, headers, framing, minor, keep_alive, int(time.time())) + b"\r\n\r\n"


@lru_cache(maxsize=64)
def _head(status: int, headers: Headers, framing: str | None, minor: int, keep_alive: bool, second: int) -> bytes:
    lines, has_date = [f"HTTP/1.{minor} {status} {_PHRASES.get(status, '')}"], False
    for name, value in headers:
        lower = name.lower()
        has_date = has_date or lower == "date"
        if lower not in _FRAMING:
            lines.append(f"{name}: {value}")
    if not has_date:
        lines.append(f"Date: {formatdate(second, usegmt=True)}")
    if framing is not None:
        lines.append(framing)
    if not keep_alive:
        lines.append("Connection: close")
    elif minor == 0:
        lines.append("Connection: keep-alive")
    head = "\r\n".join(lines)
    if head.count("\r") != len(lines) - 1 or head.count("\n") != len(lines) - 1 or "\0" in head:
        raise ValueError("a reply header holds a control character")
    return head.encode("utf-8", "surrogateescape")


def has_length(status: int) -> bool:
    """True if replies of this status have a length (RFC 9110, section 8.6)."""
    return status >= 200 and status not in (204, 304)
