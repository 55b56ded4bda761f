"""Remembers nonces, signatures and ended sessions until a repeated request would be too old anyway."""

import hashlib
import time
from collections import Counter
from heapq import heappop, heappush

from gateway.core.moments import NS
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason

MAX_ENTRIES = 400_000
# The share of the entries that one key may use. Requests beyond it are rejected; no entry is evicted early.
SHARE = 0.5


class Replays:
    """A bounded set of hashes, with a share per owner. It is kept across reloads."""

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self._entries: set[bytes] = set()
        self._of_owner: Counter[str] = Counter()
        self._by_second: dict[int, list[tuple[bytes, str]]] = {}
        self._seconds: list[int] = []  # the keys of _by_second, as a heap

    def __len__(self) -> int:
        return len(self._entries)

    def remember(self, once: tuple[str, ...], until_ns: int, *, owner: str = "") -> bool:
        self._forget_ended()
        entry = _digest(once)
        if entry in self._entries:
            return False
        is_full = len(self._entries) >= self._max_entries
        if is_full or self._of_owner[owner] >= max(1, self._max_entries * SHARE):
            raise CallerError.of(Reason.OVERLOADED, "too many requests: the replay memory is full")
        second = -(-until_ns // NS)
        if second not in self._by_second:
            self._by_second[second] = []
            heappush(self._seconds, second)
        self._by_second[second].append((entry, owner))
        self._entries.add(entry)
        self._of_owner[owner] += 1
        return True

    def seen(self, once: tuple[str, ...]) -> bool:
        self._forget_ended()
        return _digest(once) in self._entries

    def _forget_ended(self) -> None:
        now_ns = time.time_ns()
        while self._seconds and self._seconds[0] * NS <= now_ns:
            for entry, owner in self._by_second.pop(heappop(self._seconds)):
                self._entries.discard(entry)
                self._of_owner[owner] -= 1
                if not self._of_owner[owner]:
                    del self._of_owner[owner]


def _digest(once: tuple[str, ...]) -> bytes:
    """Return 16 bytes for caller-chosen text of any length."""
    text = "".join(f"{len(part)}:{part}" for part in once)
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest()
