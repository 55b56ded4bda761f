"""Reads files that a configuration names, without waiting for one that never ends."""

import os
import stat
from pathlib import Path

# More than any secret needs, a private key too.
MAX_SECRET_BYTES = 65_536


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Return what a regular file holds. Raises OSError, also for a pipe, a device, a folder, or more bytes.

    Raises ValueError for a path with a null byte.
    """
    # O_NONBLOCK: opening a pipe that nobody writes to would wait.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("it is no regular file")
        content = stream.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(f"it is larger than {max_bytes:,} bytes")
    return content
