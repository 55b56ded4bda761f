"""The tables, as a list of steps forward. The file's `user_version` counts the steps that it has taken.

A step, once released, never changes; a new one is added below it.
"""

import sqlite3
from collections.abc import Callable, Sequence

Migration = Callable[[sqlite3.Connection], None]

# What a point is on disk; whether it is leased is known to the running process alone.
QUEUED, DEAD_LETTER = 0, 1


class NewerVersion(Exception):
    """The file was written by a newer gateway."""

    def __init__(self, found: int, known: int) -> None:
        super().__init__(f"version {found}, and this gateway knows up to {known}")


def _points(connection: sqlite3.Connection) -> None:
    connection.execute("""
        CREATE TABLE destinations (
            id INTEGER PRIMARY KEY,
            route TEXT NOT NULL,
            target TEXT NOT NULL,
            UNIQUE (route, target)
        )
    """)
    # AUTOINCREMENT: an id that a person has read off a list never comes to mean another point.
    connection.execute("""
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
        )
    """)
    connection.execute("CREATE INDEX points_due ON points (destination, state, not_before_ns)")
    connection.execute(f"CREATE INDEX points_parked ON points (id) WHERE state = {DEAD_LETTER}")


def _dead_letter_index(connection: sqlite3.Connection) -> None:
    connection.execute("DROP INDEX points_parked")
    connection.execute(f"CREATE INDEX points_dead_letter ON points (id) WHERE state = {DEAD_LETTER}")


MIGRATIONS: tuple[Migration, ...] = (_points, _dead_letter_index)


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Take the steps that the file lacks, each in a transaction of its own. Raises NewerVersion, sqlite3.Error."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(migrations):
        raise NewerVersion(version, len(migrations))
    for number, step in enumerate(migrations[version:], version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            step(connection)
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
