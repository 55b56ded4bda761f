"""The connections of one listener: makes, counts, evicts and closes them. `Crowd` is the rule of eviction.

This module depends on no route and no vendor.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from gateway.core.http.request import Response
from gateway.web.connection import Connection
from gateway.web.parser import Incoming

T = TypeVar("T")
log = structlog.get_logger()

# Connections beyond the limit that still get a reply; further ones are aborted.
SURPLUS_CONNECTIONS = 256
# From this share of the limit on, a new connection closes one that never had an accepted report.
CROWDED = 0.75
# How often a rejected request is logged, in seconds.
LOG_EVERY_S = 1.0
# How long a cancelled handler may take to clean up.
CUT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Limits of one listener. Heads up to 128 KiB are rejected in the route's dialect, longer ones with a short 400."""

    max_head_bytes: int = 65536
    head_timeout_s: float = 10
    idle_timeout_s: float = 75
    max_connections: int = 2048


# Returns None if it has written the reply by `stream_reply`.
Handler = Callable[[Incoming], Awaitable[Response | None]]


class Crowd(Generic[T]):
    """Members with the addresses of their peers, oldest first. The peer with the most members loses its oldest."""

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


class Server:
    """Makes, counts and closes connections. `running` are the tasks that answer requests."""

    def __init__(
        self, handler: Handler, limits: HttpLimits, *, scheme: str, on_reject: Callable[[str], None] | None = None
    ) -> None:
        self.handler = handler
        self.limits = limits
        self.scheme = scheme
        self.running: set[asyncio.Task[None]] = set()
        self._on_reject = on_reject
        self._logged_s = -LOG_EVERY_S
        self._open: set[Connection] = set()
        self._unserved: Crowd[Connection] = Crowd()
        self._finishing = False

    def __call__(self) -> Connection:
        """Make the protocol of a new connection, as asyncio requires of a protocol factory."""
        return Connection(self)

    def opened(self, connection: Connection) -> None:
        """Count a new connection. In a crowd, close the longest-idle connection without an accepted report, of the peer
        with the most of them."""
        if len(self._open) >= self.limits.max_connections * CROWDED:
            evicted = self._unserved.take(lambda each: each.is_expendable)
            if evicted is not None:
                self._open.discard(evicted)  # now: many connections may be opened before it is lost
                evicted.abort()
        self._open.add(connection)
        self._unserved.add(connection, connection.peer)
        connection.finishing = self._finishing
        connection.over_limit = len(self._open) > self.limits.max_connections
        connection.far_over_limit = len(self._open) > self.limits.max_connections + SURPLUS_CONNECTIONS

    def keep(self, connection: Connection) -> None:
        """Never evict a connection that had an accepted report."""
        self._unserved.discard(connection)

    def renew(self, connection: Connection) -> None:
        """Evict a connection after others, because it had a request."""
        self._unserved.renew(connection)

    def lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._unserved.discard(connection)

    def reject(self, cause: str, peer: str) -> None:
        """Count a request that is rejected before the handler sees it, and log at most one per second."""
        if self._on_reject is not None:
            self._on_reject(cause)
        now = asyncio.get_running_loop().time()
        if now - self._logged_s >= LOG_EVERY_S:
            self._logged_s = now
            log.warning("request_rejected", cause=cause, peer=peer)

    def finish(self) -> None:
        """Close each connection after the replies to the requests that have arrived."""
        self._finishing = True
        for connection in self._open:
            connection.finishing = True

    def close_idle(self) -> bool:
        """Close idle connections. Returns whether others are left."""
        for connection in list(self._open):
            if connection.is_idle:
                connection.close()
        return bool(self._open or self.running)

    async def cut(self) -> None:
        """Cancel all handlers and abort all connections."""
        if self.running:
            for task in self.running:
                task.cancel()
            await asyncio.wait(self.running, timeout=CUT_S)
        for connection in list(self._open):
            connection.abort()
        await asyncio.sleep(0)
