"""Reads one request body from aiohttp: never more than allowed, never longer than allowed, never decompressed."""

import asyncio

from aiohttp import StreamReader, web

from gateway.core.errors import CallerError
from gateway.core.outcome import Reason

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


async def read_body(request: web.BaseRequest, *, max_bytes: int, timeout_s: float) -> bytes:
    """Return the body as on the wire, chunks joined.

    Raises CallerError: TOO_LARGE (before reading, where the length is declared), TOO_SLOW, NOT_PARSED.
    """
    content = request.content
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)
    try:
        if content.is_eof():
            body = content.read_nowait()
        else:
            async with asyncio.timeout(timeout_s):
                body = await _read_rest(request, content, max_bytes)
    except TimeoutError:
        _give_up(content)
        raise CallerError.of(Reason.TOO_SLOW, f"the body took longer than {timeout_s:g} s") from None
    except (web.RequestPayloadError, ConnectionError):
        raise CallerError.of(Reason.NOT_PARSED, "the body ended early or is not validly chunked") from None
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    return body


async def _read_rest(request: web.BaseRequest, content: StreamReader, max_bytes: int) -> bytes:
    if awaits_continue(request):
        await request.writer.write(CONTINUE)
    parts: list[bytes] = []
    size = 0
    while not content.at_eof():
        parts.append(await content.readany())
        size += len(parts[-1])
        if size > max_bytes:
            _give_up(content)
            raise _too_large(max_bytes)
    return b"".join(parts)


def awaits_continue(request: web.BaseRequest) -> bool:
    """Tell whether the caller holds its body back until it is asked for (RFC 9110, section 10.1.1)."""
    return (
        request.content.total_bytes == 0
        and request.version >= (1, 1)
        and request.headers.get("Expect", "").lower() == "100-continue"
    )


def _too_large(max_bytes: int) -> CallerError:
    return CallerError.of(Reason.TOO_LARGE, f"the body is larger than {max_bytes} bytes")


def _give_up(content: StreamReader) -> None:
    """Mark a body that will not be read on: its connection cannot serve a further request."""
    content.set_exception(web.RequestPayloadError("given up"))
