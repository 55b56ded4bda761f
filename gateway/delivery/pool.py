"""Connections to one upstream, kept for further requests."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from aiohappyeyeballs import start_connection

from gateway.core.http.url import address_of
from gateway.delivery.connection import Connection

# RFC 8305, section 8: when the next address is tried as well.
NEXT_ADDRESS_AFTER_S = 0.25

Resolve = Callable[[str, int], Awaitable[Sequence[Any]]]


class Pool:
    """Connections with the same TLS settings. `in_use` counts those that are not idle.

    Raises ValueError if `host` is not `NAME` or `NAME:PORT`.
    """

    def __init__(self, scheme: str, host: str, tls: ssl.SSLContext | None) -> None:
        parts = urlsplit(f"//{host}")
        if not parts.hostname or parts.netloc != host or parts.username is not None:
            raise ValueError(f"{host!r} is not a host")
        self.address = address_of(scheme, host)
        self.in_use = 0
        self.idle: list[tuple[float, Connection]] = []
        self._name = parts.hostname
        self._port = parts.port or (443 if scheme == "https" else 80)
        self._tls = tls

    def take(self, idle_since: float) -> Connection | None:
        """Return the last used connection that is open, unless it is idle for longer."""
        self.in_use += 1
        while self.idle:
            since, connection = self.idle.pop()
            if since >= idle_since and connection.is_reusable:
                return connection
            connection.abort()
        return None

    def put_back(self, connection: Connection | None, now: float) -> None:
        """Keep a connection that can be used again; close any other."""
        self.in_use -= 1
        if connection is not None and connection.is_reusable:
            self.idle.append((now, connection))
        elif connection is not None:
            connection.abort()

    def close_idle(self, idle_since: float) -> None:
        """Close the connections that are idle for longer."""
        for since, connection in self.idle:
            if since < idle_since:
                connection.abort()
        self.idle = [(since, connection) for since, connection in self.idle if since >= idle_since]

    async def connect(self, resolve: Resolve) -> Connection:
        """Open a connection. Raises OSError, and ValueError if the name cannot be written in DNS."""
        addresses = await resolve(self._name, self._port)
        taken: socket.socket | None = await start_connection(addresses, happy_eyeballs_delay=NEXT_ADDRESS_AFTER_S)
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(self.address),
                sock=taken,
                ssl=self._tls,
                server_hostname=self._name.rstrip(".") if self._tls else None,
            )
            taken = None
            return connection
        finally:
            if taken is not None:  # the event loop has not taken over the socket
                taken.close()
