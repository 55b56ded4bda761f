"""From a reply to bytes: status line, headers, framing and body."""

import json
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from gateway.core.http.request import Headers, Response
from gateway.core.outcome.outcome import CODE_OF, Reason

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_FRAMING = frozenset({"connection", "keep-alive", "content-length", "transfer-encoding"})


def short_reply(status: int, reason: Reason, message: str) -> Response:
    """Return the short JSON reply to a request without a route."""
    body = json.dumps({"code": CODE_OF[reason], "reason": reason, "message": message}).encode()
    return Response(status, (("Content-Type", "application/json"),), body)


NOT_HTTP = short_reply(400, Reason.NOT_PARSED, "the request is not valid HTTP/1.1")


def to_wire(response: Response, *, minor: int = 1, keep_alive: bool = False, method: str = "GET") -> bytes:
    """Return the reply as HTTP/1.<minor>. Framing headers are replaced, other headers are kept.

    Raises ValueError for a control character in a header (response splitting).
    """
    lines = _head(response.status, response.headers, minor)
    lines.append(f"Date: {_date(int(time.time()))}")
    if has_length(response.status):
        lines.append(f"Content-Length: {len(response.body)}")
        body = b"" if method == "HEAD" else response.body
    else:
        body = b""
    return _joined(lines, minor, keep_alive) + body


def to_wire_head(status: int, headers: Headers, framing: str | None, *, minor: int, keep_alive: bool) -> bytes:
    """Return the head of a streamed reply; `framing` is its framing header. Raises ValueError as `to_wire` does."""
    lines = _head(status, headers, minor)
    if not any(name.lower() == "date" for name, _ in headers):
        lines.append(f"Date: {_date(int(time.time()))}")
    lines += [framing] if framing is not None else []
    return _joined(lines, minor, keep_alive)


def has_length(status: int) -> bool:
    """True if replies of this status have a length (RFC 9110, section 8.6)."""
    return status >= 200 and status not in (204, 304)


def _head(status: int, headers: Headers, minor: int) -> list[str]:
    lines = [f"HTTP/1.{minor} {status} {_REASONS.get(status, '')}"]
    return lines + [f"{name}: {value}" for name, value in headers if name.lower() not in _FRAMING]


def _joined(lines: list[str], minor: int, keep_alive: bool) -> bytes:
    if not keep_alive:
        lines.append("Connection: close")
    elif minor == 0:
        lines.append("Connection: keep-alive")
    head = "\r\n".join(lines)
    if head.count("\r") != len(lines) - 1 or head.count("\n") != len(lines) - 1 or "\0" in head:
        raise ValueError("a reply header holds a control character")
    return head.encode("utf-8", "surrogateescape") + b"\r\n\r\n"


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
