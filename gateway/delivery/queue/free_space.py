"""Free space on the queue's disk, and the space reserved for deleting data points when it is full.

SQLite needs space to delete: a transaction first grows the write-ahead log (WAL), and only a checkpoint into the
database lets the WAL shrink. So new data points are refused while there is still space for both, and a ballast file is
deleted when other programs have filled the disk.
"""

import os
from contextlib import suppress
from pathlib import Path

RESERVE_BYTES = 16_777_216
BALLAST_BYTES = 8_388_608
# On a small disk the reserve is 1/8, and the ballast half of that.
RESERVE_PART = 8
# Disk bytes per byte of a data point: WAL and database, with index entries.
BYTES_OF_A_BYTE = 4


class FreeSpace:
    """The free space for one database."""

    def __init__(self, database: Path, log: Path) -> None:
        self._database = database
        self._log = log
        self._ballast = database.with_name("ballast")
        self._given_up = not self._ballast.exists()

    def left(self) -> int:
        """Return how many bytes of data points may be added; negative if the reserve is in use. Raises OSError."""
        free, total = self._measure()
        log = self._log.stat().st_size if self._log.exists() else 0
        reserve = min(RESERVE_BYTES, total // RESERVE_PART)
        if self._given_up and free - log > 2 * reserve:
            self._keep_back(reserve // 2)
            free, _ = self._measure()
        return (free - log - reserve) // BYTES_OF_A_BYTE

    def give_up(self) -> None:
        """Delete the ballast, so that the database can use its space."""
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
