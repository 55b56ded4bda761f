"""Opens the database file: durable at each commit, limited in size, and locked by this process.

`user_version` of the file is the number of migrations applied. A released migration never changes; new ones are added.
"""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

import structlog

from gateway.delivery.queue.damage import keep_damaged_log, set_aside
from gateway.delivery.queue.folder import CannotOpen, Folder, is_empty, sync_folder, write_ahead_log

log = structlog.get_logger()

# The column `state`. Leases are kept in memory.
QUEUED, DEAD_LETTER = 0, 1

MIGRATIONS = (
    # AUTOINCREMENT: an id that a person has read is never used for another point.
    f"""
    CREATE TABLE destinations (
        id INTEGER PRIMARY KEY,
        route TEXT NOT NULL,
        target TEXT NOT NULL,
        UNIQUE (route, target)
    );
    CREATE TABLE points (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        destination INTEGER NOT NULL,
        report_id TEXT NOT NULL,
        item INTEGER NOT NULL,
        received_ns INTEGER NOT NULL,
        state INTEGER NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0,
        not_before_ns INTEGER NOT NULL DEFAULT 0,
        reason TEXT,
        message TEXT,
        point TEXT NOT NULL
    );
    CREATE INDEX points_due ON points (destination, state, not_before_ns);
    CREATE INDEX points_parked ON points (id) WHERE state = {DEAD_LETTER}
    """,
    f"""
    DROP INDEX points_parked;
    CREATE INDEX points_dead_letter ON points (id) WHERE state = {DEAD_LETTER}
    """,
)

# FULL syncs at each commit. Exclusive: a reader of the file cannot block checkpoints, and no shared memory is needed.
# On macOS, fsync alone does not reach the disk.
SETTINGS = """
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA fullfsync = ON;
    PRAGMA wal_autocheckpoint = 1000;
    PRAGMA journal_size_limit = 8388608
"""
_INCREMENTAL = 2
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class Damaged(Exception):
    """The file is not a sound SQLite database."""


def open_database(folder: Folder) -> sqlite3.Connection:
    """Open the queue's database. A damaged one is set aside and replaced by an empty one. Raises CannotOpen."""
    database = folder.database
    try:
        if folder.was_used and is_empty(database) and is_empty(write_ahead_log(database)):
            log.error("queue_missing", file=str(database), hint="the queue starts empty")
        log_was_damaged = not is_empty(database) and keep_damaged_log(database)
        try:
            connection = connect(database)
        except Damaged as error:
            set_aside(database, str(error))
            return connect(database)
        if log_was_damaged:  # or the frames that remain in it would be reported again
            with suppress(sqlite3.OperationalError):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return connection
    except (OSError, sqlite3.Error, Damaged) as error:
        what = error.strerror if isinstance(error, OSError) else error
        raise CannotOpen(f"{database}: cannot be opened: {what}") from error


def connect(path: Path) -> sqlite3.Connection:
    """Open one file and migrate it to the newest version. Raises Damaged, CannotOpen, sqlite3.Error, OSError."""
    if is_empty(path) and not is_empty(write_ahead_log(path)):
        # SQLite would discard the WAL, and the commits in it.
        raise Damaged("the write-ahead log exists without its database")
    is_new = not path.exists()
    # For its owner only; SQLite gives its WAL the same mode. It would open a read-only file, and fail later.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
    if is_new:
        sync_folder(path.parent)
    connection = sqlite3.connect(path, isolation_level=None, timeout=0)
    try:
        _configure(connection)
        _migrate(connection, path)
    except BaseException as error:
        connection.close()
        if is_damage(error):
            raise Damaged(str(error)) from error
        raise
    return connection


def is_damage(error: BaseException) -> bool:
    """Return whether the file is damaged, and not only its disk full or failing."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _DAMAGED


def _configure(connection: sqlite3.Connection) -> None:
    lock, *settings = SETTINGS.split(";")
    connection.execute(lock)
    (vacuum,) = connection.execute("PRAGMA auto_vacuum").fetchone()
    if vacuum != _INCREMENTAL:  # setting it again would write, and fail on a full disk
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    for setting in settings:
        connection.execute(setting)
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise Damaged(found)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Apply the missing migrations, each in one transaction. Raises CannotOpen, sqlite3.Error."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        known = f"version {version}, and this gateway knows up to {len(MIGRATIONS)}"
        raise CannotOpen(f"{path}: was written by a newer gateway ({known}); run that one, or use another folder")
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in [*script.split(";"), f"PRAGMA user_version = {number}", "COMMIT"]:
                connection.execute(statement)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
