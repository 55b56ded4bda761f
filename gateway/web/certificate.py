"""The certificate of a listener, reloaded when its files change."""

import asyncio
import ssl

import structlog

from gateway.files import Fingerprint, fingerprint
from gateway.tls import BadPem, Pair, server_context

# Polled, because container and network mounts report no events, and a mounted Kubernetes secret changes the target of a
# symlink in another folder.
POLL_EVERY_S = 1.0
log = structlog.get_logger()


class Certificate:
    """`context` is for the next handshake; established connections keep theirs."""

    def __init__(self, pair: Pair) -> None:
        """Raises BadPem."""
        self._pair = pair
        self._fingerprints = self._look()
        self.context: ssl.SSLContext = server_context(pair)

    async def watch(self) -> None:
        """Reload until cancelled."""
        while True:
            await asyncio.sleep(POLL_EVERY_S)
            # In a thread, because a hanging file system must not block the loop.
            await asyncio.to_thread(self.refresh)

    def refresh(self) -> None:
        """Load the files if they have changed. If they are invalid, keep the current certificate."""
        # Before loading: a file that changes while it is read is then loaded again.
        fingerprints = self._look()
        if fingerprints == self._fingerprints:
            return
        self._fingerprints = fingerprints
        try:
            self.context = server_context(self._pair)
        except BadPem as error:
            log.error("certificate_reload_failed", error=str(error))
        else:
            log.info("certificate_reloaded", file=str(self._pair.cert))

    def _look(self) -> list[Fingerprint]:
        return [fingerprint(file) for file in (self._pair.cert, self._pair.key) if file is not None]
