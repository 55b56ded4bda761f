"""The files that a configuration names: reading them without blocking, and noticing that they have changed."""

import os
import stat
from pathlib import Path

# Large enough for any secret, including a private key.
MAX_SECRET_BYTES = 65_536
# None if the file does not exist, or cannot be accessed.
Fingerprint = tuple[int, ...] | None
Fingerprints = dict[Path, Fingerprint]


def read_regular_file(path: Path, max_bytes: int) -> bytes:
    """Return the content of a regular file of limited size, whose reading cannot block.

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


def fingerprint(file: Path) -> Fingerprint:
    """Return a value that changes when the file is written or replaced; symlinks are followed."""
    try:
        status = os.stat(file)
    except (OSError, ValueError):  # ValueError: a path with a null byte
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
