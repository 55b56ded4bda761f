"""From bound sockets to connections: plain ones as they come, those over TLS once they have shaken hands."""

import asyncio
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Protocol

from gateway.tls import reason_of
from gateway.web.certificate import Certificate
from gateway.web.crowd import Crowd

logger = logging.getLogger("gateway.web")

BACKLOG = 1024
# How long the end of a connection over TLS waits for the caller to agree to it.
GOODBYE_S = 1.0
# Where no more files can be opened; asyncio's own listener waits as long.
ACCEPT_AGAIN_AFTER_S = 1.0
TELL_EVERY_S = 1.0

MakeProtocol = Callable[[], asyncio.Protocol]


class Acceptor(Protocol):
    """Hands on connections from the moment it is made."""

    async def close(self) -> None:
        """Accept what the kernel has up to now, which it would reset, and no more."""

    async def cut(self) -> None:
        """Give up what has yet to become a connection."""


class PlainAcceptor:
    """Accepts by asyncio's own listeners."""

    def __init__(self, protocol: MakeProtocol, listening: Sequence[asyncio.Server]) -> None:
        self._protocol = protocol
        self._listening = listening

    @classmethod
    async def open(cls, protocol: MakeProtocol, sockets: Sequence[socket.socket]) -> "PlainAcceptor":
        loop = asyncio.get_running_loop()
        return cls(protocol, [await loop.create_server(protocol, sock=each, backlog=BACKLOG) for each in sockets])

    async def close(self) -> None:
        sockets = [each for server in self._listening for each in server.sockets]
        doubles = [socket.socket(fileno=os.dup(each.fileno())) for each in sockets]
        for server in self._listening:
            server.close()
        for connection in [connection for double in doubles for connection in _accepted(double)]:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)

    async def cut(self) -> None:
        return None


class TlsAcceptor:
    """Accepts by itself: asyncio's listeners tell nobody how many handshakes are under way, nor why one has failed."""

    def __init__(
        self,
        protocol: MakeProtocol,
        sockets: Sequence[socket.socket],
        certificate: Certificate,
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
        self._tell_again_at = 0.0
        for each in sockets:
            each.setblocking(False)
            self._accept_at(each)

    async def close(self) -> None:
        sockets, self._sockets = self._sockets, ()
        for each in sockets:
            self._loop.remove_reader(each)
            for connection in _accepted(each):
                self._admit(connection)

    async def cut(self) -> None:
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
            logger.error("no connection can be accepted: %s", error.strerror)
            self._loop.remove_reader(listening)
            self._loop.call_later(ACCEPT_AGAIN_AFTER_S, self._accept_at, listening)
            return
        self._admit(connection)

    def _admit(self, connection: socket.socket) -> None:
        if len(self._handshakes) >= self._max_handshakes and (oldest := self._handshakes.take()):
            oldest.cancel()
            self._tell(oldest.get_name(), "too many handshakes were under way")
        connection.setblocking(False)
        peer = _peer(connection)
        task = self._loop.create_task(self._shake_hands(connection, peer), name=peer)
        self._handshakes.add(task, peer)
        task.add_done_callback(lambda task: self._end(task, connection))

    def _end(self, task: asyncio.Task[None], connection: socket.socket) -> None:
        self._handshakes.discard(task)
        if task.cancelled():
            connection.close()  # a task that was cancelled before it began has closed nothing

    async def _shake_hands(self, connection: socket.socket, peer: str) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._protocol,
                connection,
                ssl=self._certificate.context,
                ssl_handshake_timeout=self._timeout_s,
                ssl_shutdown_timeout=GOODBYE_S,
            )
        except ssl.SSLError as error:
            self._tell(peer, reason_of(error))
        except ConnectionAbortedError:
            self._tell(peer, "it took too long")
        except OSError:
            pass  # the caller has gone, as a probe does that only connects

    def _tell(self, peer: str, reason: str) -> None:
        """Log why a handshake failed, at most once a second: whoever sends nonsense must not fill the log."""
        if time.monotonic() >= self._tell_again_at:
            self._tell_again_at = time.monotonic() + TELL_EVERY_S
            logger.warning("the TLS handshake with %s failed: %s", peer, reason)


def _accepted(listening: socket.socket) -> Iterator[socket.socket]:
    """Yield the connections that wait, and close the socket that they wait at."""
    with listening, suppress(OSError):
        listening.setblocking(False)
        while True:
            yield listening.accept()[0]


def _peer(connection: socket.socket) -> str:
    try:
        return str(connection.getpeername()[0]).removeprefix("::ffff:")
    except OSError:
        return "a caller that has gone"
