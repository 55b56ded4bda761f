"""The counters, the leases and the statements of the queue. One thread uses it.

A point is queued (`not_before_ns` 0), in backoff (`not_before_ns` > 0), leased, or a dead letter. A lease is kept in
memory only: it costs no write, works on a full disk, and ends with the process that would have settled it. New points
are kept in memory too, up to a size, so that their first lease does not parse them again.

Memory follows the transactions: a rollback restores the counters and forgets new points, and leases end after the
commit. Lists of ids are passed as one JSON parameter: each statement is prepared once.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

import structlog

from gateway.core.moments import NS
from gateway.core.outcome.errors import UpstreamError
from gateway.core.outcome.outcome import Reason
from gateway.core.queue_view import Depth, Destination, PointFilter
from gateway.delivery.queue.database import DEAD_LETTER, QUEUED
from gateway.delivery.queue.free_space import FreeSpace
from gateway.delivery.queue.listing import HELD, Listing, as_list
from gateway.delivery.queue.records import ROW_BYTES, LeasedPoint, NewPoint, read_point
from gateway.delivery.queue.settings import Limits

log = structlog.get_logger()

MAX_MESSAGE_CHARS = 500
# A point due later than this is due now: the clock was set back.
LONGEST_BACKOFF_S = 3600
# With less space left, the WAL is checkpointed before each batch.
LITTLE_SPACE_BYTES = 16_777_216
# The file is shrunk if more than half of its pages, and more than 1 MiB, are free.
MIN_FREE_PAGES = 256
VACUUM_PAGES = 64
# The size on disk of the new points that are kept in memory. There they take several times as much.
MAX_KEPT_BYTES = 4_194_304

# Key of the counters of all points. Other keys are the number of a destination (from 1), or that and a state.
ALL = 0

IDS = "id IN (SELECT value FROM json_each(:ids))"
# In bytes: SQLite's length() of a text counts characters.
SIZES = f"""
    SELECT destination, state, count(*), sum(length(CAST(point AS BLOB)) + length(report_id) + {ROW_BYTES}) FROM points
"""
_DUE = f"""
    SELECT id, report_id, item, received_ns, attempts, point FROM points
    WHERE destination = :destination AND state = {QUEUED} AND not_before_ns %s
    AND id NOT IN {HELD} ORDER BY not_before_ns, id LIMIT :limit
"""
# Three ranges of one index: points never tried, points whose backoff has ended, and points that are due too late.
LEASE = f"""
    SELECT * FROM (
        SELECT * FROM ({_DUE % "= 0"}) UNION ALL SELECT * FROM ({_DUE % "BETWEEN 1 AND :now_ns"})
        UNION ALL SELECT * FROM ({_DUE % "> :latest_ns"})
    )
    ORDER BY attempts * :fresh_first, id LIMIT :limit
"""
Sizes = list[tuple[int, int, int, int]]


class Ledger:
    """The queue of one open database. Every method may raise sqlite3.Error."""

    def __init__(self, connection: sqlite3.Connection, limits: Limits, space: FreeSpace) -> None:
        self.commits = 0
        self._connection = connection
        self._limits = limits
        self._space = space
        self._space_left = 0
        self._held: dict[int, set[int]] = {}  # leased ids by the number of their destination
        self._lowest: dict[int, int] = {}  # no queued point of that destination has a lower id
        self._kept: dict[int, tuple[NewPoint, int]] = {}  # new points by id, and the sizes of their texts
        self._kept_bytes = 0
        self._released: list[int] = []  # leases that end with the commit
        # In memory, because each append checks them: SQL takes 0.1 s to count a million points, 0.5 s with their bytes.
        self._points: defaultdict[int | tuple[int, int], int] = defaultdict(int)
        self._bytes: defaultdict[int, int] = defaultdict(int)
        rows = connection.execute("SELECT route, target, id FROM destinations")
        self._numbers = {Destination(route, target): number for route, target, number in rows}
        self._count(connection.execute(f"{SIZES} GROUP BY 1, 2").fetchall())
        for number in self._bytes.keys() - {ALL, *self._numbers.values()}:
            # Recovered from a damaged file without its destination. The number must not be given to another route.
            connection.execute("INSERT INTO destinations VALUES (?, 'lost', ?)", (number, str(number)))
            self._numbers[Destination("lost", str(number))] = number

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all changes made inside, or none; they are on disk when this returns."""
        before = self._points.copy(), self._bytes.copy(), self._numbers.copy()
        self._released = []
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            self._points, self._bytes, self._numbers = before
            self._kept, self._kept_bytes = {}, 0  # the ids will be those of other points
            if self._connection.in_transaction:  # a failing disk may have ended the transaction
                self._connection.execute("ROLLBACK")
            raise
        self.commits += 1
        self.release(self._released)

    def measure_space(self) -> None:
        """Measure how much may be added until the next call. With little space, checkpoint the WAL. Raises OSError."""
        self._space_left = self._space.left()
        if self._space_left < LITTLE_SPACE_BYTES:
            self._checkpoint()
            self._space_left = self._space.left()

    def free_space(self) -> None:
        """Make space on a full disk: delete the ballast and checkpoint the WAL."""
        self._space.delete_ballast()
        self._checkpoint()

    def shrink(self) -> bool:
        """Return some free pages to the file system if most are free; return whether there are more."""
        if not self._is_mostly_free():
            return False
        self._connection.execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").fetchall()
        if self._is_mostly_free():
            return True
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return False

    # Inside a transaction.

    def append(self, points: Sequence[NewPoint], texts: Sequence[str]) -> None:
        """Add the points of a report with their JSON, all or none. Raises UpstreamError (QUEUE_FULL) at a limit."""
        sizes: dict[Destination, list[int]] = {}
        for new, text in zip(points, texts, strict=True):
            size = len(text if text.isascii() else text.encode()) + len(new.report_id) + ROW_BYTES
            sizes.setdefault(new.destination, []).append(size)
        self._check_limits(sizes, points[0].received_ns)
        numbers = {destination: self._number(destination) for destination in sizes}
        self._connection.executemany(
            "INSERT INTO points (destination, report_id, item, received_ns, point) VALUES (?, ?, ?, ?, ?)",
            [
                (numbers[new.destination], new.report_id, new.item, new.received_ns, text)
                for new, text in zip(points, texts, strict=True)
            ],
        )
        self._count([(numbers[place], QUEUED, len(added), sum(added)) for place, added in sizes.items()])
        (last_id,) = self._connection.execute("SELECT last_insert_rowid()").fetchone()
        ids = range(last_id - len(points) + 1, last_id + 1)  # one writer, so they are consecutive
        for point_id, new, text in zip(ids, points, texts, strict=True):
            if self._kept_bytes + len(text) <= MAX_KEPT_BYTES:
                self._kept[point_id] = new, len(text)
                self._kept_bytes += len(text)

    def delete(self, ids: Collection[int]) -> int:
        """Delete points; return how many there were."""
        sizes = self._sizes(ids)
        self._connection.execute(f"DELETE FROM points WHERE {IDS}", {"ids": as_list(ids)})
        self._count(sizes, -1)
        self._released.extend(ids)
        return sum(points for _, _, points, _ in sizes)

    def retry_later(self, ids: Collection[int], until_ns: int, reason: Reason | None, message: str) -> None:
        """End a lease, count an attempt, and make the points due at `until_ns`."""
        self._connection.execute(
            f"""
            UPDATE points
            SET attempts = attempts + 1, not_before_ns = max(1, :until_ns), reason = :reason, message = :message
            WHERE state = {QUEUED} AND {IDS}
            """,
            {"ids": as_list(ids), "until_ns": until_ns, "reason": reason, "message": _writable(message)},
        )
        self._released.extend(ids)

    def dead_letter(self, ids: Collection[int], reason: Reason, message: str) -> None:
        """End a lease, and set the points aside for manual action."""
        with self._recounted(ids):
            self._connection.execute(
                f"""
                UPDATE points SET state = {DEAD_LETTER}, not_before_ns = 0, reason = :reason, message = :message
                WHERE state = {QUEUED} AND {IDS}
                """,
                {"ids": as_list(ids), "reason": reason, "message": _writable(message)},
            )
        self._released.extend(ids)

    def retry(self, ids: Collection[int]) -> int:
        """Make dead letters and points in backoff due without attempts; return how many. Leased points are left out."""
        free = set(ids) - (self._all_held() - set(self._released))
        for number, lowest in self._lowest.items():
            self._lowest[number] = min([lowest, *free])
        with self._recounted(free):
            return self._connection.execute(
                f"""
                UPDATE points SET state = {QUEUED}, attempts = 0, not_before_ns = 0, reason = NULL, message = NULL
                WHERE (state = {DEAD_LETTER} OR not_before_ns > 0) AND {IDS}
                """,
                {"ids": as_list(free)},
            ).rowcount

    # Outside a transaction.

    def lease(
        self, destination: Destination, limit: int, now_ns: int, *, fresh_first: bool = False
    ) -> list[LeasedPoint]:
        """Lease the oldest due points, in the order of their ids; with `fresh_first`, fewest attempts first."""
        number = self._numbers.get(destination)
        if number is None:
            return []
        held = self._held.setdefault(number, set())
        names = {"destination": number, "held": as_list(held), "limit": limit, "fresh_first": fresh_first}
        names |= {"now_ns": now_ns, "latest_ns": now_ns + LONGEST_BACKOFF_S * NS}
        leased: list[LeasedPoint] = []
        unreadable: list[int] = []
        for *fields, text in self._connection.execute(LEASE, names):
            new = self._forget(fields[0])
            try:
                known = (read_point(text),) if new is None else (new.point, new.group, new.form)
                leased.append(LeasedPoint(*fields, *known))
            except ValueError:
                unreadable.append(fields[0])
        if unreadable:
            log.error("unreadable_points", route=destination.route, target=destination.target, points=len(unreadable))
            with self.transaction():
                self.dead_letter(unreadable, Reason.INTERNAL, "the stored data is not a data point")
        held.update(point.id for point in leased)
        return leased

    def release(self, ids: Iterable[int]) -> None:
        """End leases; the points are due as before, unless they were changed or deleted."""
        for held in self._held.values():
            held.difference_update(ids)
        for point_id in ids:
            self._forget(point_id)

    def next_due_ns(self, destination: Destination, now_ns: int) -> int | None:
        """Return when the first point that is due after now is due."""
        (due_ns,) = self._connection.execute(
            f"SELECT min(not_before_ns) FROM points WHERE destination = ? AND state = {QUEUED} AND not_before_ns > ?",
            (self._numbers.get(destination), now_ns),
        ).fetchone()
        return None if due_ns is None else int(due_ns)

    def matching(self, which: PointFilter) -> Listing:
        return Listing(self._connection, which, self._all_held())

    def depths(self, now_ns: int) -> list[Depth]:
        """Return what is stored for each destination. Costs two index look-ups for each."""
        depths = []
        for destination, number in sorted(self._numbers.items()):
            leased, oldest_ns = len(self._held.get(number, ())), self._oldest_ns(number)
            failing = self._connection.execute(
                f"""
                SELECT attempts, reason, message, round(not_before_ns / 1e9, 3) FROM points
                WHERE destination = ? AND state = {QUEUED} AND not_before_ns > 0 ORDER BY not_before_ns LIMIT 1
                """,
                (number,),
            ).fetchone()
            queued, dead_letters = self._points[number, QUEUED] - leased, self._points[number, DEAD_LETTER]
            oldest_s = None if oldest_ns is None else round(max(0, now_ns - oldest_ns) / NS, 3)
            size = self._bytes[number]
            depths.append(Depth(*destination, queued, leased, dead_letters, size, oldest_s, *(failing or ())))
        return depths

    def _number(self, destination: Destination) -> int:
        number = self._numbers.get(destination)
        if number is None:
            insert = "INSERT INTO destinations (route, target) VALUES (?, ?)"
            number = self._numbers[destination] = self._connection.execute(insert, destination).lastrowid or 0
        return number

    def _check_limits(self, sizes: dict[Destination, list[int]], now_ns: int) -> None:
        limits, points = self._limits, sum(map(len, sizes.values()))
        size = sum(map(sum, sizes.values()))
        self._space_left -= size
        if self._space_left < 0:
            raise _full("the queue is full: its disk has too little room left")
        if self._points[ALL] + points > limits.max_points:
            raise _full(f"the queue is full: it holds {limits.max_points} data points at most")
        if self._bytes[ALL] + size > limits.max_bytes:
            raise _full(f"the queue is full: it holds {limits.max_bytes} bytes at most")
        for destination, added in sizes.items():
            number, place = self._number(destination), f"{destination.route} to {destination.target}"
            points, size = self._points[number] + len(added), self._bytes[number] + sum(added)
            if points > limits.max_points * limits.share or size > limits.max_bytes * limits.share:
                raise _full(f"the queue's share of {place} is full")
            oldest_ns = None if limits.max_age_s is None else self._oldest_ns(number)
            if oldest_ns is not None and now_ns - oldest_ns > (limits.max_age_s or 0) * NS:
                raise _full(f"the queue of {place} is stuck: its oldest point is over {limits.max_age_s:g} s old")

    def _sizes(self, ids: Collection[int]) -> Sizes:
        return self._connection.execute(f"{SIZES} WHERE {IDS} GROUP BY 1, 2", {"ids": as_list(ids)}).fetchall()

    @contextmanager
    def _recounted(self, ids: Collection[int]) -> Iterator[None]:
        """Update the counters by what happens to these points inside."""
        before = self._sizes(ids)
        yield
        self._count(before, -1)
        self._count(self._sizes(ids))

    def _count(self, sizes: Sizes, sign: int = 1) -> None:
        for number, state, points, size in sizes:
            for key in (ALL, number, (number, state)):
                self._points[key] += sign * points
            for key in (ALL, number):
                self._bytes[key] += sign * size

    def _all_held(self) -> set[int]:
        return set().union(*self._held.values())

    def _forget(self, point_id: int) -> NewPoint | None:
        new, size = self._kept.pop(point_id, (None, 0))
        self._kept_bytes -= size
        return new

    def _oldest_ns(self, number: int) -> int | None:
        """Return when the oldest queued point was received. Continues the last search, so each row is passed once."""
        if not self._points[number, QUEUED]:
            return None
        found = self._connection.execute(
            f"""
            SELECT id, received_ns FROM points NOT INDEXED
            WHERE id >= ? AND destination = ? AND state = {QUEUED} ORDER BY id LIMIT 1
            """,
            (self._lowest.get(number, 0), number),
        ).fetchone()
        if found is None:
            return None
        self._lowest[number] = found[0]
        return int(found[1])

    def _checkpoint(self) -> None:
        with suppress(sqlite3.Error):  # the next write reports it
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _is_mostly_free(self) -> bool:
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        (free,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        return bool(free > MIN_FREE_PAGES and free * 2 > pages)


def _writable(message: str) -> str:
    return message.encode("utf-8", "replace").decode()[:MAX_MESSAGE_CHARS]


def _full(message: str) -> UpstreamError:
    return UpstreamError.of(Reason.QUEUE_FULL, message)
