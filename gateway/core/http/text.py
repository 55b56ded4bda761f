"""HTTP requests as text: a request line, headers, a blank line, and the body."""

import re

from gateway.core.http.request import Request
from gateway.core.text import shown

_START = re.compile(r"([A-Z]+) (\S.*?)(?: HTTP/\d(?:\.\d)?)?")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\0]*?)[ \t]*")
_SHOWN = 60


def parse_request(data: bytes) -> tuple[Request, list[str]]:
    """Parse a request, and return it with warnings. Lines may end in LF, and Content-Length may be wrong.

    Raises ValueError with the number of the invalid line.
    """
    data = data.lstrip(b"\r\n")
    if not data:
        raise ValueError("it is empty; the first line of a request is such as 'POST /path HTTP/1.1'")
    head, divider, body = [*re.split(rb"(\r?\n\r?\n)", data, maxsplit=1), b"", b""][:3]
    head = head if divider else head.rstrip(b"\r\n")
    lines = head.decode("utf-8", "surrogateescape").replace("\r\n", "\n").split("\n")
    start = _START.fullmatch(lines[0].strip())
    if start is None:
        raise ValueError(f"line 1: {shown(lines[0], _SHOWN)} is not a request line such as 'POST /path HTTP/1.1'")
    headers = []
    for number, line in enumerate(lines[1:], 2):
        header = _HEADER.fullmatch(line)
        if header is None:
            what = "is not a header such as 'Host: example.org'; a blank line ends the headers"
            raise ValueError(f"line {number}: {shown(line, _SHOWN)} {what}")
        headers.append((header[1], header[2]))
    request = Request(start[1], _origin_form(start[2]), tuple(headers), body)
    return request, [] if divider else ["there is no blank line after the headers: the body is empty"]


def length_warnings(request: Request) -> list[str]:
    """Return a warning for each Content-Length that is not the size of the body."""
    return [
        f"Content-Length says {value}, and the body has {len(request.body)} bytes"
        for value in request.header_values("content-length")
        if value != str(len(request.body))
    ]


def format_request(request: Request) -> bytes:
    """Return the bytes of a request. Content-Length is added if there is a body."""
    headers = request.headers
    if request.body and request.header("content-length") is None:
        headers = (*headers, ("Content-Length", str(len(request.body))))
    lines = [f"{request.method} {request.target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + request.body


def _origin_form(target: str) -> str:
    """Return path and query of a target in absolute form (RFC 9112, section 3.2.2)."""
    absolute = re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*(.*)", target)
    if absolute is None:
        return target
    return absolute[1] if absolute[1].startswith("/") else "/" + absolute[1]
