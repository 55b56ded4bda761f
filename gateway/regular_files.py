"""Reads the files that a configuration names: regular files of limited size, so reading cannot block."""

import os
import stat
from pathlib import Path

# Large enough for any secret, including a private key.
MAX_SECRET_BYTES = 65_536


def read_regular_file(path: Path, max_bytes: int) -> bytes:
    """Return the content of a regular file.

    Raises OSError, also for a pipe, device, folder or larger file, and ValueError for a path with a null byte.
    """
    # O_NONBLOCK: opening a pipe without a writer would block.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("it is not a regular file")
        content = stream.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(f"it is larger than {max_bytes:,} bytes")
    return content
