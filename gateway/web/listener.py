"""Binds an address, serves it, and closes it gracefully."""

import asyncio
import socket
from collections.abc import Callable

from gateway.web.acceptor import BACKLOG, Acceptor
from gateway.web.certificate import Certificate
from gateway.web.server import Handler, HttpLimits, Server

# At shutdown, how long requests that callers have already sent may take to arrive.
SETTLE_S = 0.05
POLL_S = 0.01
# How long a TLS handshake may take.
HANDSHAKE_S = 5.0

DEFAULTS = HttpLimits()


def parse_address(address: str) -> tuple[str, int]:
    """Split `host:port`, `[::]:port` or `:port`; an empty host means every interface.

    Raises ValueError with a message for the user.
    """
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not port.isascii() or not port.isdigit() or (":" in host and not bracketed):
        raise ValueError(f"{address!r} is not an address; write host:port, like 127.0.0.1:8080, [::]:8080 or :8080")
    if int(port) > 65535:
        raise ValueError(f"{address!r} has a port above 65535")
    return host[1:-1] if bracketed else host, int(port)


async def listen(
    handler: Handler,
    address: str,
    *,
    limits: HttpLimits = DEFAULTS,
    certificate: Certificate | None = None,
    on_reject: Callable[[str], None] | None = None,
) -> "Listener":
    """Serve the address until the listener is closed, over TLS if there is a certificate.

    `on_reject` is called with the cause of each request that is rejected before the handler sees it.
    Raises ValueError for an invalid address, OSError if it is taken.
    """
    sockets = await _bind(*parse_address(address))
    server = Server(handler, limits, scheme="https" if certificate else "http", on_reject=on_reject)
    acceptor = Acceptor(
        server,
        sockets,
        certificate,
        max_handshakes=max(1, limits.max_connections // 4),
        handshake_timeout_s=min(limits.head_timeout_s, HANDSHAKE_S),
    )
    return Listener(server, acceptor, sockets[0].getsockname())


class Listener:
    """A bound address and its connections. `address` is `host:port` as bound."""

    def __init__(self, server: Server, acceptor: Acceptor, bound: tuple[str, int]) -> None:
        self._server = server
        self._acceptor = acceptor
        host, port = bound[:2]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def close(self, grace_s: float) -> None:
        """Stop accepting, reply to every request that was sent, and return. After the grace period, abort the rest."""
        loop = asyncio.get_running_loop()
        end = loop.time() + grace_s
        self._server.finish()
        await self._acceptor.close()
        await asyncio.sleep(min(SETTLE_S, grace_s))
        await self._acceptor.cut()
        while self._server.close_idle() and loop.time() < end:
            await asyncio.sleep(POLL_S)
        await self._server.cut()


async def _bind(host: str, port: int) -> list[socket.socket]:
    if host in ("", "::"):
        return [_bind_all(port)]
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    bound: list[socket.socket] = []
    try:
        for family, _, _, _, bindable in dict.fromkeys(found):
            bound.append(socket.create_server(bindable, family=family, backlog=BACKLOG))
    except OSError:
        for opened in bound:
            opened.close()
        raise
    return bound


def _bind_all(port: int) -> socket.socket:
    """Bind every interface with one socket: with port 0, two sockets would get different ports."""
    if socket.has_dualstack_ipv6():
        family = socket.AF_INET6
        return socket.create_server(("", port), family=family, backlog=BACKLOG, dualstack_ipv6=True)
    return socket.create_server(("", port), backlog=BACKLOG)
