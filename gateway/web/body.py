"""Reads one request body from aiohttp: never more than allowed, never longer than allowed, never decompressed."""

import asyncio
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from aiohttp import StreamReader, web

from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason

# Per listener. Fewer than its 2,048 connections, so that some are left for verified reports.
MAX_BODIES = 1536
MAX_BYTES = 67_108_864

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Room:
    """Limits the memory of bodies, in total and per owner: an address, or for verified requests a route and key.

    `bodies` bounds how many are read at a time, `size` their bytes. One owner may have half of each: behind a proxy,
    all reporters have the same address.
    """

    def __init__(self, bodies: int = MAX_BODIES, size: int = MAX_BYTES) -> None:
        self._bodies = bodies
        self._size = size
        self._held: dict[Hashable, list[int]] = {}
        self._total = [0, 0]

    @contextmanager
    def hold(self, owner: Hashable) -> Iterator["Hold"]:
        """Reserve room for a body of that owner. Raises CallerError (OVERLOADED) if the limit is reached."""
        hold = Hold(self, owner)
        try:
            hold.add(bodies=1)
            yield hold
        finally:
            hold.release()

    def change(self, owner: Hashable, bodies: int, size: int) -> None:
        held = self._held.setdefault(owner, [0, 0])
        for counts in (held, self._total):
            counts[0] += bodies
            counts[1] += size
        if held == [0, 0]:
            del self._held[owner]

    def is_over(self, owner: Hashable) -> bool:
        bodies, size = self._held.get(owner, (0, 0))
        too_many = self._total[0] > self._bodies or bodies > self._bodies // 2
        return too_many or self._total[1] > self._size or size > self._size // 2


class Hold:
    """The memory reserved for one body."""

    def __init__(self, room: Room, owner: Hashable) -> None:
        self._room = room
        self._owner = owner
        self._bodies = self._size = 0

    def add(self, *, bodies: int = 0, size: int = 0) -> None:
        """Reserve more room. Raises CallerError (OVERLOADED) if the limit is reached."""
        self._bodies += bodies
        self._size += size
        self._room.change(self._owner, bodies, size)
        if self._room.is_over(self._owner):
            raise CallerError.of(Reason.OVERLOADED, "too many reports are being read", retry_after_s=1)

    def release(self) -> None:
        self._room.change(self._owner, -self._bodies, -self._size)
        self._bodies = self._size = 0


async def read_body(request: web.BaseRequest, *, max_bytes: int, timeout_s: float, hold: Hold | None = None) -> bytes:
    """Return the body as on the wire, chunks joined.

    Raises CallerError: TOO_LARGE (before reading, where the length is declared), TOO_SLOW, NOT_PARSED, and OVERLOADED
    where `hold` has no room for it.
    """
    content = request.content
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)
    try:
        if content.is_eof():
            body = content.read_nowait()
            if hold is not None:
                hold.add(size=len(body))
        else:
            async with asyncio.timeout(timeout_s):
                body = await _read_rest(request, content, max_bytes, hold)
    except TimeoutError:
        _give_up(content)
        raise CallerError.of(Reason.TOO_SLOW, f"the body took longer than {timeout_s:g} s") from None
    except (web.RequestPayloadError, ConnectionError):
        raise CallerError.of(Reason.NOT_PARSED, "the body ended early or is not validly chunked") from None
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    return body


async def _read_rest(request: web.BaseRequest, content: StreamReader, max_bytes: int, hold: Hold | None) -> bytes:
    if awaits_continue(request):
        await request.writer.write(CONTINUE)
    parts: list[bytes] = []
    size = 0
    try:
        while not content.at_eof():
            parts.append(await content.readany())
            size += len(parts[-1])
            if size > max_bytes:
                _give_up(content)
                raise _too_large(max_bytes)
            if hold is not None:
                hold.add(size=len(parts[-1]))
        return b"".join(parts)
    finally:
        # The exception of a broken body refers to this frame, and is referred to by the reader: without this the parts
        # would live until the garbage collector finds the cycle.
        parts.clear()


def decline_body(request: web.BaseRequest) -> None:
    """Leave the rest of the body unread. Unless it has arrived already, the connection closes after the reply."""
    if not request.content.is_eof():
        _give_up(request.content)


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
