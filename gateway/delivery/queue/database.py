"""Opens the database file as the queue needs it: durable at each commit, bounded on disk, held by us alone."""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Literal

import structlog

from gateway.delivery.queue.damage import keep_damaged_log, set_aside
from gateway.delivery.queue.folder import CannotOpen, Folder, is_empty, sync_folder, write_ahead_log
from gateway.delivery.queue.schema import NewerVersion, migrate

log = structlog.get_logger()

Synchronous = Literal["FULL", "OFF"]
CHECKPOINT_PAGES = 1000
MAX_LOG_BYTES = 8_388_608
_INCREMENTAL = 2
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class Damaged(Exception):
    """The file is not a sound SQLite database."""


def open_database(folder: Folder, synchronous: Synchronous = "FULL") -> sqlite3.Connection:
    """Open the queue's database. A damaged one is set aside and replaced by an empty one. Raises CannotOpen."""
    database = folder.database
    try:
        if folder.was_used and is_empty(database) and is_empty(write_ahead_log(database)):
            log.error("the queue's file is missing or empty; the queue starts empty", file=str(database))
        log_was_damaged = not is_empty(database) and keep_damaged_log(database)
        try:
            connection = connect(database, synchronous)
        except Damaged as error:
            set_aside(database, str(error))
            return connect(database, synchronous)
        if log_was_damaged:  # or the frames that remain in it would be reported again
            with suppress(sqlite3.OperationalError):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return connection
    except NewerVersion as error:
        what = f"{folder.database}: was written by a newer gateway ({error})"
        raise CannotOpen(f"{what}; run that one, or use another folder") from error
    except OSError as error:
        raise CannotOpen(f"{folder.database}: cannot be opened: {error.strerror}") from error
    except (sqlite3.Error, Damaged) as error:
        raise CannotOpen(f"{folder.database}: cannot be opened: {error}") from error


def connect(path: Path, synchronous: Synchronous = "FULL") -> sqlite3.Connection:
    """Open one file, and bring it to the newest version. Raises Damaged, NewerVersion, sqlite3.Error, OSError."""
    if is_empty(path) and not is_empty(write_ahead_log(path)):
        # SQLite would throw the log away, and with it what was committed there.
        raise Damaged("the database is gone, and its write-ahead log is not")
    _create(path)
    connection = sqlite3.connect(path, isolation_level=None, timeout=0)
    try:
        _prepare(connection, synchronous)
        migrate(connection)
    except sqlite3.DatabaseError as error:
        connection.close()
        if is_damage(error):
            raise Damaged(str(error)) from error
        raise
    except BaseException:
        connection.close()
        raise
    return connection


def is_damage(error: sqlite3.Error) -> bool:
    """Tell a damaged file from a disk that fails, or is full."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _DAMAGED


def _create(path: Path) -> None:
    """Make the file ours to read alone; SQLite gives its log the same mode. Raises OSError where it may not be written.

    SQLite would open that one for reading, and fail later in worse words.
    """
    is_new = not path.exists()
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
    if is_new:
        sync_folder(path.parent)


def _prepare(connection: sqlite3.Connection, synchronous: Synchronous) -> None:
    # Exclusive: nobody who looks into the file can keep the log from being emptied, and no shared memory is needed.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    (vacuum,) = connection.execute("PRAGMA auto_vacuum").fetchone()
    if vacuum != _INCREMENTAL:  # said again it would be written again, and a full disk is no reason not to start
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA fullfsync = ON")  # macOS: its fsync alone does not reach the disk
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {MAX_LOG_BYTES}")
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise Damaged(found)
