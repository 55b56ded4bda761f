"""The eviction rule for connections and TLS handshakes: the peer with the most members loses its oldest."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Crowd(Generic[T]):
    """Members with the addresses of their peers, oldest first."""

    def __init__(self) -> None:
        self._peers: dict[T, str] = {}
        self._by_peer: dict[str, dict[T, None]] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._peers))

    def add(self, member: T, peer: str) -> None:
        self._peers[member] = peer
        self._by_peer.setdefault(peer, {})[member] = None

    def discard(self, member: T) -> None:
        peer = self._peers.pop(member, None)
        if peer is not None:
            del self._by_peer[peer][member]
            if not self._by_peer[peer]:
                del self._by_peer[peer]

    def renew(self, member: T) -> None:
        """Make a member the newest."""
        peer = self._peers.get(member)
        if peer is not None:
            self.discard(member)
            self.add(member, peer)

    def take(self, may_take: Callable[[T], bool] = lambda _: True) -> T | None:
        """Remove and return the oldest member of the peer with the most members, among those that may be taken."""
        for members in sorted(self._by_peer.values(), key=len, reverse=True):
            member = next(filter(may_take, members), None)
            if member is not None:
                self.discard(member)
                return member
        return None
