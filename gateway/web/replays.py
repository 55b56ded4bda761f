"""Remembers nonces and signatures that may be seen only once, for as long as their request would still be in time."""

import time

from cachetools import TLRUCache

MAX_ENTRIES = 100_000


class Replays:
    """Bounded: past `max_entries`, the entry that would end first gives way. Lives across reloads."""

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._seen: TLRUCache[tuple[str, ...], int] = TLRUCache(
            max_entries, ttu=lambda once, until_ns, now_ns: until_ns, timer=time.time_ns
        )

    def remember(self, once: tuple[str, ...], until_ns: int) -> bool:
        if once in self._seen:
            return False
        self._seen[once] = until_ns
        return True

    def seen(self, once: tuple[str, ...]) -> bool:
        return once in self._seen
