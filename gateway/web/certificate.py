"""The certificate that a listener shows, read anew when its files change."""

import asyncio
import ssl

import structlog

from gateway.file_fingerprint import Fingerprint, fingerprint
from gateway.tls import BadPem, Pair, server_context

# Files are looked at rather than watched: mounts of containers and networks report no events, and an event of a
# symlink's target, which is what a mounted Kubernetes secret changes, comes from a folder that is not the file's own.
LOOK_EVERY_S = 1.0
log = structlog.get_logger()


class Certificate:
    """What the next handshake shows is in `context`; connections that have shaken hands keep theirs."""

    def __init__(self, pair: Pair) -> None:
        """Raises BadPem."""
        self._pair = pair
        self._fingerprints = self._look()
        self.context: ssl.SSLContext = server_context(pair)

    async def watch(self) -> None:
        """Keep it fresh, for ever."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            # In a thread, so that a file system that hangs does not block the loop.
            await asyncio.to_thread(self.refresh)

    def refresh(self) -> None:
        """Take the files as they are now, where they have changed. A pair that will not do leaves all as it was."""
        # Looked at first: a file that changes while it is read is read once more.
        fingerprints = self._look()
        if fingerprints == self._fingerprints:
            return
        self._fingerprints = fingerprints
        try:
            self.context = server_context(self._pair)
        except BadPem as error:
            log.error("certificate not reloaded", problem=str(error))
        else:
            log.info("certificate reloaded", file=str(self._pair.cert))

    def _look(self) -> list[Fingerprint]:
        return [fingerprint(file) for file in (self._pair.cert, self._pair.key) if file is not None]
