"""Binds an address, accepts its connections, and closes them gracefully.

The sockets are accepted here and not by `loop.create_server`, which neither bounds the TLS handshakes under way nor
reports why one failed.
"""

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog

from gateway.tls import reason_of
from gateway.web.certificate import Certificate
from gateway.web.server import Crowd, Handler, HttpLimits, Server

BACKLOG = 1024
# How long closing a TLS connection waits for the caller's close_notify.
TLS_SHUTDOWN_S = 1.0
# How long a TLS handshake may take.
HANDSHAKE_S = 5.0
# The pause if no more files can be opened; asyncio's own listener waits as long.
ACCEPT_AGAIN_AFTER_S = 1.0
LOG_EVERY_S = 1.0
# At shutdown, how long TLS handshakes under way may take, and then the requests that callers have already sent.
LAST_HANDSHAKES_S = 1.0
SETTLE_S = 0.05
POLL_S = 0.01

DEFAULTS = HttpLimits()
log = structlog.get_logger()


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
    return Listener(server, sockets, certificate)


class Listener:
    """A bound address and its connections. `address` is `host:port` as bound."""

    def __init__(self, server: Server, sockets: Sequence[socket.socket], certificate: Certificate | None) -> None:
        self._server = server
        self._sockets = tuple(sockets)
        self._certificate = certificate
        self._max_handshakes = max(1, server.limits.max_connections // 4)
        self._loop = asyncio.get_running_loop()
        self._handshakes: Crowd[asyncio.Task[None]] = Crowd()
        self._log_again_at = 0.0
        host, port = sockets[0].getsockname()[:2]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        for listening in sockets:
            listening.setblocking(False)
            self._accept_at(listening)

    async def close(self, grace_s: float) -> None:
        """Stop accepting, reply to every request that was sent, and return. After the grace period, abort the rest."""
        end = self._loop.time() + grace_s
        self._server.finish()
        sockets, self._sockets = self._sockets, ()
        for listening in sockets:
            self._loop.remove_reader(listening)
            # Accept the connections that wait in the kernel, which would reset them.
            with listening, suppress(OSError):
                while True:
                    self._admit(listening.accept()[0])
        if self._handshakes:
            await asyncio.wait([*self._handshakes], timeout=min(LAST_HANDSHAKES_S, grace_s))
        await asyncio.sleep(min(SETTLE_S, grace_s))
        for task in self._handshakes:
            task.cancel()
        await asyncio.gather(*self._handshakes, return_exceptions=True)
        while self._server.close_idle() and self._loop.time() < end:
            await asyncio.sleep(POLL_S)
        await self._server.cut()

    def _accept_at(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            self._loop.add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        try:
            connection, _ = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            log.error("accept_failed", error=os.strerror(error.errno or 0), retry_in_s=ACCEPT_AGAIN_AFTER_S)
            self._loop.remove_reader(listening)
            self._loop.call_later(ACCEPT_AGAIN_AFTER_S, self._accept_at, listening)
            return
        self._admit(connection)

    def _admit(self, connection: socket.socket) -> None:
        is_full = self._certificate is not None and len(self._handshakes) >= self._max_handshakes
        if is_full and (oldest := self._handshakes.take()):
            oldest.cancel()
            self._log_failure(oldest.get_name(), "too many handshakes under way")
        connection.setblocking(False)
        peer = ""
        with suppress(OSError):
            peer = str(connection.getpeername()[0]).removeprefix("::ffff:")
        task = self._loop.create_task(self._connect(connection, peer), name=peer)
        self._handshakes.add(task, peer)

        def end(task: asyncio.Task[None]) -> None:
            self._handshakes.discard(task)
            if task.cancelled():
                connection.close()  # a task that was cancelled before it began has closed nothing

        task.add_done_callback(end)

    async def _connect(self, connection: socket.socket, peer: str) -> None:
        options: dict[str, object] = {}
        if self._certificate is not None:
            options = {
                "ssl": self._certificate.context,
                "ssl_handshake_timeout": min(self._server.limits.head_timeout_s, HANDSHAKE_S),
                "ssl_shutdown_timeout": TLS_SHUTDOWN_S,
            }
        try:
            await self._loop.connect_accepted_socket(self._server, connection, **options)  # type: ignore[arg-type]
        except ssl.SSLError as error:
            self._log_failure(peer, reason_of(error))
        except ConnectionAbortedError:
            self._log_failure(peer, "timed out")
        except OSError:
            pass  # the caller disconnected, as a probe does that only connects

    def _log_failure(self, peer: str, reason: str) -> None:
        """Log at most one failed handshake per second, to keep hostile callers from filling the log."""
        if time.monotonic() >= self._log_again_at:
            self._log_again_at = time.monotonic() + LOG_EVERY_S
            log.warning("tls_handshake_failed", peer=peer, reason=reason)


async def _bind(host: str, port: int) -> list[socket.socket]:
    if host in ("", "::"):
        # One socket for every interface: with port 0, two sockets would get different ports.
        dual = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if dual else socket.AF_INET
        return [socket.create_server(("", port), family=family, backlog=BACKLOG, dualstack_ipv6=dual)]
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
