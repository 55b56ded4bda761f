"""What the disk has left for the queue, and what is kept back so that a full one can be emptied.

SQLite deletes by writing to its log first, and moves the log into the database before the log can shrink. So new points
are refused while there is still room for both, and a ballast file is given up when others have filled the disk.
"""

import os
from contextlib import suppress
from pathlib import Path

RESERVE_BYTES = 16_777_216
BALLAST_BYTES = 8_388_608
# Of a small disk, the reserve is this part, and the ballast half of that.
RESERVE_PART = 8
# What a point takes of its size, in the log and in the database, with its index entries.
BYTES_OF_A_BYTE = 4


class Room:
    """The room on the disk of one database. None of this raises where the system does not tell."""

    def __init__(self, database: Path, log: Path) -> None:
        self._database = database
        self._log = log
        self._ballast = database.with_name("ballast")
        self._given_up = not self._ballast.exists()

    def left(self) -> int:
        """Return how many bytes of points may be added, negative for a disk that is fuller than that."""
        free, total = self._measure()
        log = self._log.stat().st_size if self._log.exists() else 0
        reserve = min(RESERVE_BYTES, total // RESERVE_PART)
        if self._given_up and free - log > 2 * reserve:
            self._keep_back(reserve // 2)
            free, _ = self._measure()
        return (free - log - reserve) // BYTES_OF_A_BYTE

    def give_up(self) -> None:
        """Let the database have what was kept back."""
        self._given_up = True
        with suppress(OSError):
            self._ballast.unlink(missing_ok=True)

    def _keep_back(self, size: int) -> None:
        self._given_up = False
        try:
            descriptor = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                if hasattr(os, "posix_fallocate"):  # macOS has none, and does without
                    os.posix_fallocate(descriptor, 0, min(size, BALLAST_BYTES))
            finally:
                os.close(descriptor)
        except OSError:
            with suppress(OSError):
                self._ballast.unlink(missing_ok=True)

    def _measure(self) -> tuple[int, int]:
        status = os.statvfs(self._database.parent)
        return status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
