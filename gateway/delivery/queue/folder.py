"""The data folder: its files, its permissions, and the lock of the process that uses it."""

import os
from contextlib import suppress
from pathlib import Path


class CannotOpen(Exception):
    """The queue cannot be opened. The message says what to do."""


class Held(CannotOpen):
    """Another process holds the folder. `what` is the message without the advice."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}; stop that one, or use another folder")
        self.what = what


class Folder:
    """A data folder that this process has locked, until `release` or its exit."""

    def __init__(self, path: Path) -> None:
        """Create the folder if it is missing, and lock it. Raises CannotOpen."""
        self.path = path
        self.database = path / "queue.db"
        try:
            if not path.is_dir():
                path.mkdir(mode=0o700, parents=True)
                sync_folder(path.parent)
            self.was_used = (path / "lock").exists()
            self._lock = _lock(path / "lock")
        except OSError as error:
            what = f"{path}: cannot be the data folder: {error.strerror}"
            raise CannotOpen(f"{what}; it must be a folder that this user may write in") from error

    def release(self) -> None:
        os.close(self._lock)


def write_ahead_log(database: Path) -> Path:
    return database.with_name(database.name + "-wal")


def is_empty(path: Path) -> bool:
    return not path.exists() or path.stat().st_size == 0


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock(path: Path) -> int:
    """Lock the file, and write our process id into it. The system releases the lock when the process exits."""
    try:
        import fcntl
    except ImportError as error:
        raise CannotOpen("queued delivery needs a system with flock, such as Linux or macOS") from error
    # O_NOFOLLOW: the target of a symbolic link of another user would be truncated.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise Held(f"{path.parent}: another gateway holds this data folder (process {holder})") from error
    except OSError:
        os.close(descriptor)
        raise
    with suppress(OSError):  # the id is for display, and the disk may be full
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor
