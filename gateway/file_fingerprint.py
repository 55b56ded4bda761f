"""Detects that a file has changed, without reading it."""

import os
from pathlib import Path

# None if the file does not exist, or cannot be accessed.
Fingerprint = tuple[int, ...] | None
Fingerprints = dict[Path, Fingerprint]


def fingerprint(file: Path) -> Fingerprint:
    """Return a value that changes when the file is written or replaced; symlinks are followed."""
    try:
        status = os.stat(file)
    except (OSError, ValueError):  # ValueError: a path with a null byte
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
