"""A reply as bytes: status line, headers, framing, body."""

import json
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from gateway.core.model import Response
from gateway.core.outcome import CODE_OF, Reason

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_FRAMING = frozenset({"connection", "keep-alive", "content-length", "transfer-encoding"})


def refusal(status: int, reason: Reason, message: str) -> Response:
    """Return the short JSON reply to what never reached a route."""
    body = json.dumps({"code": CODE_OF[reason], "reason": reason, "message": message}).encode()
    return Response(status, (("Content-Type", "application/json"),), body)


NOT_HTTP = refusal(400, Reason.NOT_PARSED, "the request is not valid HTTP/1.1")


def to_wire(response: Response, *, minor: int = 1, keep_alive: bool = False, method: str = "GET") -> bytes:
    """Return the reply as HTTP/1.<minor>. Framing is ours, other headers are as given.

    Raises ValueError for a control character in a header (response splitting).
    """
    lines = [f"HTTP/1.{minor} {response.status} {_REASONS.get(response.status, '')}"]
    lines += [f"{name}: {value}" for name, value in response.headers if name.lower() not in _FRAMING]
    lines.append(f"Date: {_date(int(time.time()))}")
    if response.status >= 200 and response.status not in (204, 304):
        lines.append(f"Content-Length: {len(response.body)}")
        body = b"" if method == "HEAD" else response.body
    else:
        body = b""
    if not keep_alive:
        lines.append("Connection: close")
    elif minor == 0:
        lines.append("Connection: keep-alive")
    head = "\r\n".join(lines)
    if head.count("\r") != len(lines) - 1 or head.count("\n") != len(lines) - 1 or "\0" in head:
        raise ValueError("a reply header holds a control character")
    return head.encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
