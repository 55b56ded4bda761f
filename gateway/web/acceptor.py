"""From bound sockets to connections. Connections over TLS are made once they have shaken hands.

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
from gateway.web.crowd import Crowd

BACKLOG = 1024
# How long closing a TLS connection waits for the caller's close_notify.
TLS_SHUTDOWN_S = 1.0
# The pause if no more files can be opened; asyncio's own listener waits as long.
ACCEPT_AGAIN_AFTER_S = 1.0
LOG_EVERY_S = 1.0
log = structlog.get_logger()


class Acceptor:
    """Accepts connections from its construction on, over TLS if there is a certificate."""

    def __init__(
        self,
        protocol: Callable[[], asyncio.Protocol],
        sockets: Sequence[socket.socket],
        certificate: Certificate | None,
        *,
        max_handshakes: int,
        handshake_timeout_s: float,
    ) -> None:
        self._protocol = protocol
        self._sockets = tuple(sockets)
        self._certificate = certificate
        self._max_handshakes = max_handshakes
        self._timeout_s = handshake_timeout_s
        self._loop = asyncio.get_running_loop()
        self._handshakes: Crowd[asyncio.Task[None]] = Crowd()
        self._log_again_at = 0.0
        for listening in sockets:
            listening.setblocking(False)
            self._accept_at(listening)

    async def close(self) -> None:
        """Accept the connections that wait in the kernel, which would reset them, and close the sockets."""
        sockets, self._sockets = self._sockets, ()
        for listening in sockets:
            self._loop.remove_reader(listening)
            with listening, suppress(OSError):
                while True:
                    self._admit(listening.accept()[0])

    async def cut(self) -> None:
        """Cancel the handshakes under way."""
        for task in self._handshakes:
            task.cancel()
        await asyncio.gather(*self._handshakes, return_exceptions=True)

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
        peer = _peer(connection)
        task = self._loop.create_task(self._connect(connection, peer), name=peer)
        self._handshakes.add(task, peer)
        task.add_done_callback(lambda task: self._end(task, connection))

    def _end(self, task: asyncio.Task[None], connection: socket.socket) -> None:
        self._handshakes.discard(task)
        if task.cancelled():
            connection.close()  # a task that was cancelled before it began has closed nothing

    async def _connect(self, connection: socket.socket, peer: str) -> None:
        try:
            if self._certificate is None:
                await self._loop.connect_accepted_socket(self._protocol, connection)
                return
            await self._loop.connect_accepted_socket(
                self._protocol,
                connection,
                ssl=self._certificate.context,
                ssl_handshake_timeout=self._timeout_s,
                ssl_shutdown_timeout=TLS_SHUTDOWN_S,
            )
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


def _peer(connection: socket.socket) -> str:
    try:
        return str(connection.getpeername()[0]).removeprefix("::ffff:")
    except OSError:
        return ""
