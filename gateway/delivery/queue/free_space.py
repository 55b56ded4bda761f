"""Free space on the queue's disk, and the space reserved for deleting data points when it is full.

SQLite needs space to delete: a transaction first grows the write-ahead log (WAL), and only a checkpoint into the
database lets the WAL shrink. Therefore new data points are rejected before the space for both is used, and a ballast
file is deleted when other programs have filled the disk.
"""

import os
from contextlib import suppress
from pathlib import Path

from gateway.delivery.queue.folder import write_ahead_log

RESERVE_BYTES = 16_777_216
BALLAST_BYTES = 8_388_608
# On a small disk the reserve is 1/8, and the ballast half of that.
RESERVE_SHARE = 8
# Bytes on disk per byte of a data point: WAL and database, with index entries.
DISK_BYTES_PER_BYTE = 4


class FreeSpace:
    """The free space for one database."""

    def __init__(self, database: Path) -> None:
        self._wal = write_ahead_log(database)
        self._ballast = database.with_name("ballast")
        self._has_ballast = self._ballast.exists()

    def left(self) -> int:
        """Return how many bytes of data points may be added; negative if the reserve is in use. Raises OSError."""
        status = os.statvfs(self._wal.parent)
        free = status.f_bavail * status.f_frsize - (self._wal.stat().st_size if self._wal.exists() else 0)
        reserve = min(RESERVE_BYTES, status.f_blocks * status.f_frsize // RESERVE_SHARE)
        if not self._has_ballast and free > 2 * reserve:
            self._create_ballast(min(reserve // 2, BALLAST_BYTES))
            return self.left()
        return (free - reserve) // DISK_BYTES_PER_BYTE

    def delete_ballast(self) -> None:
        """Let the database use the space of the ballast."""
        self._has_ballast = False
        with suppress(OSError):
            self._ballast.unlink(missing_ok=True)

    def _create_ballast(self, size: int) -> None:
        self._has_ballast = True
        try:
            descriptor = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                if hasattr(os, "posix_fallocate"):  # not on macOS, where the ballast stays empty
                    os.posix_fallocate(descriptor, 0, size)
            finally:
                os.close(descriptor)
        except OSError:
            with suppress(OSError):
                self._ballast.unlink(missing_ok=True)
