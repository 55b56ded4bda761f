"""The body of one request, and the memory limit of all bodies."""

import asyncio
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason

# Per listener. Fewer than its 2,048 connections, to leave some for verified reports.
MAX_BODIES = 1536
MAX_BYTES = 67_108_864

# Bytes that may arrive before the body is read; then the connection stops reading.
READ_AHEAD_BYTES = 65_536
# A body up to this size that has arrived completely is taken without reading, and takes no room: it is decoded at once.
SMALL_BYTES = 32_768

Reserve = Callable[[int], None]
_EVERY = object()


class Body:
    """A body as on the wire: chunks joined, compression left in place.

    The connection calls `append`, `end` and `fail`. `length` is the declared length, None for a chunked body. `size`
    counts the received bytes. `awaits_continue` is set if the caller waits for a 100 response before it sends the body.
    `on_read` is called when reading begins.
    """

    __slots__ = ("_changed", "_data", "_on_read", "_wanted", "awaits_continue", "complete", "failed", "length", "size")

    def __init__(self, length: int | None, awaits_continue: bool, on_read: Callable[["Body"], None]) -> None:
        self.length = length
        self.size = 0
        self.complete = False
        self.failed = False
        self.awaits_continue = awaits_continue
        self._on_read = on_read
        # One growing buffer: its large allocations return to the system, which many small parts would not.
        self._data: bytearray | None = bytearray()
        self._wanted = False
        self._changed: asyncio.Future[None] | None = None

    def append(self, data: bytes) -> None:
        self.size += len(data)
        self.awaits_continue = False
        if self._data is not None:
            self._data += data
        self._wake()

    def end(self) -> None:
        self.complete = True
        self.awaits_continue = False
        self._wake()

    def fail(self) -> None:
        """Mark the body as one whose rest will not arrive, or not be read. Its connection closes after the reply."""
        if not self.complete:
            self.failed, self._data = True, None
            self._wake()

    @property
    def is_full(self) -> bool:
        """True if the connection has to stop reading until the body is read."""
        return self.size > READ_AHEAD_BYTES and not (self._wanted or self.complete or self.failed)

    def take_small(self, max_bytes: int) -> bytes | None:
        """Return the body if it is small and complete, None if it has to be read."""
        if not self.complete or self.size > min(SMALL_BYTES, max_bytes):
            return None
        data, self._data = self._data, None
        return bytes(data or b"")

    async def read(self, *, max_bytes: int, timeout_s: float, reserve: Reserve = lambda size: None) -> bytes:
        """Return the body.

        Raises CallerError: TOO_LARGE (before reading, if the length is declared), TOO_SLOW, NOT_PARSED, or OVERLOADED
        if `reserve` has no room for it.
        """
        if (self.length or 0) > max_bytes:
            raise _too_large(max_bytes)
        held = 0
        try:
            async with asyncio.timeout(timeout_s):
                self._start()
                while True:
                    if self.size > held:
                        reserve(self.size - held)
                        held = self.size
                    if self.size > max_bytes:
                        self.fail()
                        raise _too_large(max_bytes)
                    if self.failed:
                        raise CallerError.of(Reason.NOT_PARSED, "the body ended early or is not validly chunked")
                    if self.complete:
                        return bytes(self._data or b"")
                    await self._change()
        except TimeoutError:
            self.fail()
            raise CallerError.of(Reason.TOO_SLOW, f"the body took longer than {timeout_s:g} s") from None
        finally:
            self._data = None

    async def skip(self) -> None:
        """Discard the rest of the body, and return when it has arrived or failed."""
        self._data = None
        self._start()
        while not (self.complete or self.failed):
            await self._change()

    def _start(self) -> None:
        if not self.complete:
            self._wanted = True
            self._on_read(self)

    async def _change(self) -> None:
        self._changed = asyncio.get_running_loop().create_future()
        await self._changed

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)


class Room:
    """Limits the memory of bodies, in total and per owner: an address, or for verified requests a route and key.

    `bodies` bounds how many are read at a time, `size` their bytes. One owner may use half of both: behind a proxy,
    all reporters have the same address.
    """

    def __init__(self, bodies: int = MAX_BODIES, size: int = MAX_BYTES) -> None:
        self._limits = (bodies, size)
        self._held: dict[Hashable, tuple[int, int]] = {}  # bodies and bytes by owner

    @contextmanager
    def hold(self, owner: Hashable) -> Iterator[Reserve]:
        """Reserve room for one body. Yields the function that reserves room for its bytes.

        Both raise CallerError (OVERLOADED) if the limit is reached. All room is released at the end.
        """
        held = 0

        def reserve(size: int, bodies: int = 0) -> None:
            nonlocal held
            held += size
            if not self._change(owner, bodies, size):
                raise CallerError.of(Reason.OVERLOADED, "too many reports are being read", retry_after_s=1)

        try:
            reserve(0, bodies=1)
            yield reserve
        finally:
            self._change(owner, -1, -held)

    def _change(self, owner: Hashable, bodies: int, size: int) -> bool:
        """Change what an owner and all owners hold, and return whether both are within the limits."""
        fits = True
        for holder, share in ((owner, 2), (_EVERY, 1)):
            held_bodies, held_bytes = self._held.pop(holder, (0, 0))
            held = (held_bodies + bodies, held_bytes + size)
            fits = fits and held[0] <= self._limits[0] // share and held[1] <= self._limits[1] // share
            if held != (0, 0):
                self._held[holder] = held
        return fits


def _too_large(max_bytes: int) -> CallerError:
    return CallerError.of(Reason.TOO_LARGE, f"the body is larger than {max_bytes} bytes")
