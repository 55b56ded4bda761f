"""Saves from a damaged file the points that can still be read. The damaged file stays, under another name.

The crash windows: the points are copied to `queue.saving.db` first, which is worth nothing until it has become
`queue.saved-<time>.db`. From that moment the copy counts, and whoever opens the folder next carries on from there:
the damaged file and its log move aside, then the copy takes its place.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import structlog

from gateway.delivery.queue.folder import is_empty, sync_folder, write_ahead_log

log = structlog.get_logger()

# Each row that cannot be read costs a search; past this many, what is left counts as lost.
MAX_FAILURES = 100_000
COLUMNS = "id, destination, report_id, item, received_ns, state, attempts, not_before_ns, reason, message, point"
Row = tuple[Any, ...]


def salvage(database: Path, connect: Callable[[Path], sqlite3.Connection]) -> None:
    """Put a sound database with the readable points in the place of a damaged one, which is moved aside."""
    saving = database.with_name("queue.saving.db")
    for leftover in (saving, write_ahead_log(saving)):
        leftover.unlink(missing_ok=True)
    with closing(connect(saving)) as copy:
        saved, there = _copy(database, copy)
        # Only the database itself gets its new name. Closing empties the log too, but does not say when it could not.
        copy.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    while _aside(database, moment).exists():
        moment += "+"
    os.replace(saving, database.with_name(f"queue.saved-{moment}.db"))
    sync_folder(database.parent)
    finish_salvage(database)
    lost = "unknown" if there is None else max(0, there - saved)
    aside = str(_aside(database, moment))
    log.error("the queue's file was damaged; it was moved aside", saved=saved, lost=lost, damaged_file=aside)


def finish_salvage(database: Path) -> None:
    """Put a complete copy in its place, if there is one."""
    for saved in sorted(database.parent.glob("queue.saved-*.db")):
        aside = _aside(database, saved.stem.removeprefix("queue.saved-"))
        for old, new in ((database, aside), (write_ahead_log(database), write_ahead_log(aside))):
            if old.exists():
                os.replace(old, new)
        sync_folder(database.parent)
        os.replace(saved, database)
        sync_folder(database.parent)


def _aside(database: Path, moment: str) -> Path:
    return database.with_name(f"queue.corrupt-{moment}.db")


def _copy(database: Path, copy: sqlite3.Connection) -> tuple[int, int | None]:
    """Return how many points were copied, and how many there were; None where even that cannot be told."""
    if is_empty(database):  # to open it would empty its log too
        return 0, None
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as damaged:
        # A damaged text is still a text to look at.
        damaged.text_factory = lambda raw: raw.decode("utf-8", "replace")
        copy.execute("BEGIN IMMEDIATE")
        copy.executemany("INSERT OR IGNORE INTO destinations VALUES (?, ?, ?)", _destinations(damaged))
        marks = ", ".join("?" * len(COLUMNS.split(",")))
        saved = copy.executemany(
            f"INSERT OR IGNORE INTO points ({COLUMNS}) VALUES ({marks})", _readable(damaged)
        ).rowcount
        _name_what_is_nameless(copy)
        copy.execute("COMMIT")
        return max(saved, 0), _number(damaged, "SELECT count(*) FROM points INDEXED BY points_due")


def _destinations(damaged: sqlite3.Connection) -> Iterator[Row]:
    with suppress(sqlite3.Error):
        yield from damaged.execute("SELECT id, route, target FROM destinations NOT INDEXED")


def _name_what_is_nameless(copy: sqlite3.Connection) -> None:
    """Keep points whose destination was lost: no route has that name, and a person may look at them."""
    copy.execute("""
        INSERT INTO destinations
        SELECT DISTINCT destination, 'lost', destination FROM points
        WHERE destination NOT IN (SELECT id FROM destinations)
    """)


def _readable(damaged: sqlite3.Connection) -> Iterator[Row]:
    """Yield each point that can be read. A range that breaks off is halved, down to the points that do not read."""
    highest = max(
        _number(damaged, "SELECT max(id) FROM points NOT INDEXED") or 0,
        _number(damaged, "SELECT seq FROM sqlite_sequence WHERE name = 'points'") or 0,
    )
    failures = 0
    ranges = [(1, highest)]
    while ranges and failures < MAX_FAILURES:
        low, high = ranges.pop()
        try:
            for row in damaged.execute(
                f"SELECT {COLUMNS} FROM points NOT INDEXED WHERE id BETWEEN ? AND ? ORDER BY id", (low, high)
            ):
                yield row
                low = row[0] + 1
        except sqlite3.Error:
            failures += 1
            if low < high:
                middle = (low + high) // 2
                ranges += [(middle + 1, high), (low, middle)]


def _number(damaged: sqlite3.Connection, query: str) -> int | None:
    try:
        row = damaged.execute(query).fetchone()
    except sqlite3.Error:
        return None
    return int(row[0]) if row and row[0] is not None else None
