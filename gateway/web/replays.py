"""Remembers nonces, signatures and ended sessions for as long as their request would still be in time."""

import hashlib
import time
from heapq import heappop, heappush

MAX_ENTRIES = 100_000


class Replays:
    """Bounded: past `max_entries`, the entry that would end first gives way. Lives across reloads."""

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self._until_ns: dict[bytes, int] = {}
        self._by_end: list[tuple[int, bytes]] = []

    def remember(self, once: tuple[str, ...], until_ns: int) -> bool:
        entry = _digest(once)
        self._forget_ended()
        if entry in self._until_ns:
            return False
        if len(self._until_ns) >= self._max_entries:
            self._forget_first()
        self._until_ns[entry] = until_ns
        heappush(self._by_end, (until_ns, entry))
        return True

    def seen(self, once: tuple[str, ...]) -> bool:
        until_ns = self._until_ns.get(_digest(once))
        return until_ns is not None and until_ns > time.time_ns()

    def _forget_ended(self) -> None:
        now_ns = time.time_ns()
        while self._by_end and self._by_end[0][0] <= now_ns:
            self._forget_first()

    def _forget_first(self) -> None:
        _, entry = heappop(self._by_end)
        del self._until_ns[entry]


def _digest(once: tuple[str, ...]) -> bytes:
    """Return 16 bytes for what may be thousands of characters of a caller's choice."""
    text = "".join(f"{len(part)}:{part}" for part in once)
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest()
