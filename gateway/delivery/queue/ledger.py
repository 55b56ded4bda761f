"""The points on disk, and who holds them: what the queue does. It belongs to one thread, and waits for nobody.

What a transaction changes in memory (counters, leases, new destinations) counts from its commit on, and is forgotten
with it. Leases are in memory alone: they end with the process that would have answered for them, and a point that was
leased then is queued again. That is one write less for each call, and a lease works on a disk that is full.
"""

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import structlog

from gateway.core.moments import NS
from gateway.core.outcome.errors import UpstreamError
from gateway.core.outcome.outcome import Reason
from gateway.core.queue_view import Depth, Destination, LastFailure, State, StoredPoint
from gateway.delivery.queue import listing
from gateway.delivery.queue.free_space import FreeSpace
from gateway.delivery.queue.records import LeasedPoint, Limits, Row, read_point
from gateway.delivery.queue.schema import DEAD_LETTER, QUEUED
from gateway.delivery.queue.statements import (
    COUNT,
    IDS,
    INSERT,
    LEASE,
    NEXT_DUE,
    OLDEST,
    POSTPONE,
    POSTPONED,
    RETRY,
    TO_DEAD_LETTER,
    as_list,
)
from gateway.delivery.queue.tally import Tally

log = structlog.get_logger()

MAX_MESSAGE_CHARS = 500
VACUUM_PAGES = 64
# Longer than a worker postpones any point.
LONGEST_WAIT_S = 3600
# With less room than this, the WAL is checkpointed before each batch.
LITTLE_ROOM_BYTES = 16_777_216
# With fewer free pages than this (1 MiB) a file is not worth the work.
FREE_PAGES = 256


@dataclass(slots=True)
class _Pending:
    """What the running transaction will change in memory."""

    tally: Tally = field(default_factory=Tally)
    numbers: dict[Destination, int] = field(default_factory=dict)
    released: list[int] = field(default_factory=list)
    added_bytes: int = 0


class Ledger:
    """The tables of one open database. Every method may raise sqlite3.Error."""

    def __init__(self, connection: sqlite3.Connection, limits: Limits, space: FreeSpace | None = None) -> None:
        self.commits = 0
        self._connection = connection
        self._limits = limits
        self._space = space
        self._left_bytes = 0
        self._pending = _Pending()
        self._held: dict[int, set[int]] = {}  # ids by the number of their destination
        self._lowest: dict[int, int] = {}  # no queued point of that destination has a lower id
        self._tally = Tally()
        rows = connection.execute("SELECT route, target, id FROM destinations")
        self._numbers = {Destination(route, target): number for route, target, number in rows}
        for number, state, points, size in connection.execute(f"{COUNT} GROUP BY 1, 2"):
            self._tally.add((number, state), points, size)
        for number in {number for number, _ in self._tally.points} - set(self._numbers.values()):
            # Recovered from a damaged file without its destination. The name is taken so that no other route gets it.
            self._numbers[Destination("lost", str(number))] = number
            connection.execute("INSERT INTO destinations VALUES (?, 'lost', ?)", (number, str(number)))

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is done inside, all of it or nothing; it is on disk when this returns."""
        self._pending = _Pending()
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # A disk that fails may have ended the transaction already.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self.commits += 1
        self._tally.merge(self._pending.tally)
        self._numbers.update(self._pending.numbers)
        self.release(self._pending.released)

    def look_for_room(self) -> None:
        """Measure how much may be added until the next call. If there is little room, checkpoint the WAL first."""
        if self._space is None:
            return
        self._left_bytes = self._space.left()
        if self._left_bytes < LITTLE_ROOM_BYTES:
            self._empty_log()
            self._left_bytes = self._space.left()

    def make_room(self) -> None:
        """Free space on a full disk: delete the ballast and checkpoint the WAL."""
        if self._space is not None:
            self._space.give_up()
        self._empty_log()

    def _empty_log(self) -> None:
        with suppress(sqlite3.Error):  # the next write reports it
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    # Inside a transaction.

    def append(self, rows: Sequence[Row]) -> None:
        """Add the points of a report, all or none. Raises UpstreamError (QUEUE_FULL) where a limit refuses them."""
        points = Counter(row.destination for row in rows)
        sizes: Counter[Destination] = Counter()
        for row in rows:
            sizes[row.destination] += row.size
        numbers = {destination: self._number(destination) for destination in points}
        self._check_limits(numbers, points, sizes, max((row.received_ns for row in rows), default=0))
        self._connection.executemany(
            INSERT, [(numbers[row.destination], row.report_id, row.index, row.received_ns, row.text) for row in rows]
        )
        for destination, number in numbers.items():
            self._pending.tally.add((number, QUEUED), points[destination], sizes[destination])

    def remove(self, ids: Collection[int]) -> int:
        """Take points out for good; return how many there were."""
        removed = 0
        for number, state, points, size in self._count(ids):
            self._pending.tally.add((number, state), -points, -size)
            removed += points
        self._connection.execute(f"DELETE FROM points WHERE {IDS}", {"ids": as_list(ids)})
        self._pending.released.extend(ids)
        return removed

    def postpone(self, ids: Collection[int], until_ns: int, reason: Reason | None, message: str) -> None:
        """End a lease; the points are due again from then on, and have one attempt more."""
        names = {"ids": as_list(ids), "until_ns": until_ns, "reason": reason, "message": _writable(message)}
        self._connection.execute(POSTPONE, names)
        self._pending.released.extend(ids)

    def dead_letter(self, ids: Collection[int], reason: Reason, message: str) -> None:
        """End a lease, and put the points aside for a person."""
        self._move(ids, QUEUED, DEAD_LETTER)
        self._connection.execute(TO_DEAD_LETTER, {"ids": as_list(ids), "reason": reason, "message": _writable(message)})
        self._pending.released.extend(ids)

    def retry(self, ids: Collection[int]) -> int:
        """Make dead-lettered and postponed points due at once, as if they were new; return how many there were."""
        held: set[int] = set().union(*self._held.values())
        free = set(ids) - (held - set(self._pending.released))
        self._move(free, DEAD_LETTER, QUEUED)
        for number, lowest in self._lowest.items():
            self._lowest[number] = min([lowest, *free])
        return self._connection.execute(RETRY, {"ids": as_list(free)}).rowcount

    # Outside a transaction.

    def lease(
        self, destination: Destination, limit: int, now_ns: int, *, fresh_first: bool = False
    ) -> list[LeasedPoint]:
        """Hand out the oldest due points, in the order in which they came; nobody else gets them meanwhile.

        With `fresh_first`, those of fewer attempts come before others.
        """
        number = self._numbers.get(destination)
        if number is None:
            return []
        held = self._held.setdefault(number, set())
        names = {
            "destination": number,
            "held": as_list(held),
            "limit": limit,
            "now_ns": now_ns,
            "fresh_first": fresh_first,
            "latest_ns": now_ns + LONGEST_WAIT_S * NS,
        }
        leased: list[LeasedPoint] = []
        unreadable: list[int] = []
        for point_id, report_id, index, received_ns, attempts, text in self._connection.execute(
            LEASE, names
        ).fetchall():
            try:
                leased.append(LeasedPoint(point_id, report_id, index, received_ns, attempts, read_point(text)))
            except ValueError:
                unreadable.append(point_id)
        if unreadable:
            log.error("unreadable points in the queue were made dead letters", points=len(unreadable))
            with self.transaction():
                self.dead_letter(unreadable, Reason.INTERNAL, "what lies on disk is not a data point")
        held.update(point.id for point in leased)
        return leased

    def release(self, ids: Iterable[int]) -> None:
        """End a lease without a trace: the points are due as before."""
        for held in self._held.values():
            held.difference_update(ids)

    def next_due_ns(self, destination: Destination, now_ns: int) -> int | None:
        """Return when the first postponed point is due, of those that are due later than now."""
        number = self._numbers.get(destination)
        (due_ns,) = self._connection.execute(NEXT_DUE, (number, now_ns)).fetchone()
        return None if due_ns is None else int(due_ns)

    def points(
        self, route: str | None, target: str | None, state: State | None, after: int, limit: int
    ) -> list[StoredPoint]:
        """Return points by id, from the first id after `after` on; None stands for any."""
        wanted = [
            number
            for destination, number in self._numbers.items()
            if route in (None, destination.route) and target in (None, destination.target)
        ]
        held: set[int] = set().union(*self._held.values())
        return listing.points(self._connection, wanted, held, state, after, limit)

    def point(self, point_id: int) -> StoredPoint | None:
        found = self.points(None, None, None, point_id - 1, 1)
        return found[0] if found and found[0].id == point_id else None

    def depths(self) -> dict[Destination, Depth]:
        return {destination: self._depth(number) for destination, number in self._numbers.items()}

    def tidy(self) -> bool:
        """Give some pages back where most of the file is empty, as after a burst; tell whether there are more."""
        if not self._mostly_empty():
            return False
        self._connection.execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").fetchall()
        if self._mostly_empty():
            return True
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return False

    # Parts of the above.

    def _number(self, destination: Destination) -> int:
        number = self._numbers.get(destination) or self._pending.numbers.get(destination)
        if number is None:
            number = self._connection.execute(
                "INSERT INTO destinations (route, target) VALUES (?, ?)", destination
            ).lastrowid
            assert number is not None
            self._pending.numbers[destination] = number
        return number

    def _check_limits(
        self, numbers: dict[Destination, int], points: Counter[Destination], sizes: Counter[Destination], now_ns: int
    ) -> None:
        limits, now, then = self._limits, self._tally, self._pending.tally
        self._pending.added_bytes += sizes.total()
        if self._space is not None and self._pending.added_bytes > self._left_bytes:
            raise _full("the queue is full: its disk has too little room left")
        if now.all_points + then.all_points + points.total() > limits.max_points:
            raise _full(f"the queue is full: it holds {limits.max_points} data points at most")
        if now.all_bytes + then.all_bytes + sizes.total() > limits.max_bytes:
            raise _full(f"the queue is full: it holds {limits.max_bytes} bytes at most")
        for destination, number in numbers.items():
            place = f"{destination.route} to {destination.target}"
            points_there = now.points_of(number) + then.points_of(number) + points[destination]
            bytes_there = now.bytes_of(number) + then.bytes_of(number) + sizes[destination]
            if points_there > limits.max_points * limits.share or bytes_there > limits.max_bytes * limits.share:
                raise _full(f"the queue's share of {place} is full")
            oldest_ns = self._oldest_ns(number) if limits.max_age_s is not None else None
            if oldest_ns is not None and now_ns - oldest_ns > (limits.max_age_s or 0) * NS:
                raise _full(f"the queue of {place} is stuck: its oldest point is over {limits.max_age_s:g} s old")

    def _count(self, ids: Collection[int]) -> list[tuple[int, int, int, int]]:
        return self._connection.execute(f"{COUNT} WHERE {IDS} GROUP BY 1, 2", {"ids": as_list(ids)}).fetchall()

    def _move(self, ids: Collection[int], old: int, new: int) -> None:
        for number, state, points, size in self._count(ids):
            if state == old:
                self._pending.tally.add((number, old), -points, -size)
                self._pending.tally.add((number, new), points, size)

    def _mostly_empty(self) -> bool:
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        (free,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        return bool(free > FREE_PAGES and free * 2 > pages)

    def _depth(self, number: int) -> Depth:
        leased = len(self._held.get(number, ()))
        postponed = self._connection.execute(POSTPONED, (number,)).fetchone()
        return Depth(
            queued=self._tally.points[number, QUEUED] - leased,
            leased=leased,
            dead_letter=self._tally.points[number, DEAD_LETTER],
            bytes=self._tally.bytes_of(number),
            oldest_ns=self._oldest_ns(number),
            failing=None if postponed is None else LastFailure(*postponed),
        )

    def _oldest_ns(self, number: int) -> int | None:
        """Look it up from where the last look ended: all looks together pass each row once."""
        if not self._tally.points[number, QUEUED]:
            return None
        found = self._connection.execute(OLDEST, (self._lowest.get(number, 0), number)).fetchone()
        if found is None:
            return None
        self._lowest[number] = found[0]
        return int(found[1])


def _writable(message: str) -> str:
    return message.encode("utf-8", "replace").decode()[:MAX_MESSAGE_CHARS]


def _full(message: str) -> UpstreamError:
    return UpstreamError.of(Reason.QUEUE_FULL, message)
