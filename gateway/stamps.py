"""What tells that a file is no longer the one that was read, without reading it."""

import os
from pathlib import Path

# None where there is no file, or none that may be asked for.
Stamp = tuple[int, ...] | None
Files = dict[Path, Stamp]


def stamp(file: Path) -> Stamp:
    """Return what differs once another file stands there or the same one was written, symlinks followed."""
    try:
        status = os.stat(file)
    except (OSError, ValueError):  # ValueError: a path with a null byte
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
