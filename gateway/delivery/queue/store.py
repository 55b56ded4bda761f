"""The queue as the rest of the gateway knows it. All of it belongs to the event loop that opened it.

At least once: a point leaves by `ack` alone (or by a person's `drop`), and comes twice only where an ack had not
reached the disk when the process died. Order: `lease` gives the oldest due points first.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from gateway.core.outcome.errors import CallerError, UpstreamError
from gateway.core.outcome.outcome import Reason
from gateway.core.queue_view import Destination, QueueStats, State, StoredPoint
from gateway.delivery.queue.damage import damaged_files
from gateway.delivery.queue.database import Synchronous, open_database
from gateway.delivery.queue.folder import CannotOpen, Folder, write_ahead_log
from gateway.delivery.queue.free_space import FreeSpace
from gateway.delivery.queue.ledger import Ledger
from gateway.delivery.queue.records import LeasedPoint, Limits, NewPoint, row_of
from gateway.delivery.queue.writer import Kind, Writer

Answer = TypeVar("Answer")
# Timeout of one job on the disk, in seconds.
DISK_S = 10.0
# How many points one transaction of a person changes.
AT_A_TIME = 1000
# How many points are written as text before other work has its turn.
ROWS_OF_A_TURN = 500


class Store:
    """An open queue. Whoever opens it closes it.

    Where the disk fails, what is awaited raises UpstreamError: QUEUE_FULL for changes, INTERNAL for looks, and
    SHUTTING_DOWN once the store is closed. The next call tries the disk again.
    """

    def __init__(self, folder: Folder, writer: Writer, limits: Limits) -> None:
        self._folder = folder
        self._writer = writer
        self._limits = limits

    @classmethod
    async def open(cls, path: Path, limits: Limits | None = None, *, synchronous: Synchronous = "FULL") -> Self:
        """Lock the folder, set a damaged file aside, and read the counters. Raises CannotOpen.

        `synchronous` OFF loses what was acknowledged with the power; it is there to test the tests.
        """
        limits = limits or Limits()
        folder = Folder(path)
        writer = Writer(lambda: _open_ledger(folder, limits, synchronous))
        try:
            await writer.open()
        except BaseException:
            await writer.close()
            folder.release()
            raise
        return cls(folder, writer, limits)

    async def close(self) -> None:
        """Write what waits, and let the folder go. Leased points are queued again at the next start."""
        await self._writer.close()
        self._folder.release()

    # For the receiving side.

    async def append(self, points: Sequence[NewPoint]) -> None:
        """Keep the points of a report, all or none; they are on disk when this returns.

        Raises UpstreamError (QUEUE_FULL) where a limit or the disk refuses them or the disk takes longer than DISK_S,
        and CallerError (OVERLOADED) when too many appends wait, or (BAD_FIELD) for a point that JSON cannot hold. Where
        the disk was too slow, or this is cancelled, it may have kept them.
        """
        if self._writer.waiting >= self._limits.max_waiting:
            raise CallerError.of(Reason.OVERLOADED, "too many reports wait for the disk", retry_after_s=1)
        rows = []
        try:
            for number, point in enumerate(points, 1):
                rows.append(row_of(point))
                if number % ROWS_OF_A_TURN == 0:
                    await asyncio.sleep(0)
        except ValueError as error:
            raise CallerError.of(Reason.BAD_FIELD, f"a data point cannot be kept: {error}") from error
        if rows:
            await self._within(self._writer.submit(Kind.CHANGE, lambda ledger: ledger.append(rows)), Reason.QUEUE_FULL)

    # For workers. A leased point comes back by one of ack, postpone, dead_letter or release. Nobody waits
    # for these: until they are on disk the points stay leased, and a disk that fails is tried again.

    async def lease(
        self, destination: Destination, limit: int, now_ns: int, *, fresh_first: bool = False
    ) -> list[LeasedPoint]:
        """Take the oldest points that are due; nobody else gets them until they are given back.

        With `fresh_first`, those of fewer attempts come before others.
        """
        lease = partial(Ledger.lease, destination=destination, limit=limit, now_ns=now_ns, fresh_first=fresh_first)
        leased = self._writer.submit(Kind.ASK, lease)
        try:
            found: list[LeasedPoint] = await asyncio.shield(leased)
        except asyncio.CancelledError:
            leased.add_done_callback(self._give_back)
            raise
        return found

    def ack(self, ids: Collection[int]) -> None:
        """The upstream has them: forget them."""
        self._writer.tell(Kind.SETTLE, lambda ledger: ledger.remove(ids))

    def postpone(self, ids: Collection[int], until_ns: int, reason: Reason | None, message: str) -> None:
        """Try them again at that time, or later; counts an attempt, and keeps the first 500 characters of the error."""
        self._writer.tell(Kind.SETTLE, lambda ledger: ledger.postpone(ids, until_ns, reason, message))

    def dead_letter(self, ids: Collection[int], reason: Reason, message: str) -> None:
        """Put them aside for a person, with the first 500 characters of what is said."""
        self._writer.tell(Kind.SETTLE, lambda ledger: ledger.dead_letter(ids, reason, message))

    def release(self, ids: Collection[int]) -> None:
        """Give them back unsent."""
        self._writer.tell(Kind.ASK, lambda ledger: ledger.release(ids))

    async def next_due_ns(self, destination: Destination, now_ns: int) -> int | None:
        """Return when the next postponed point of the destination is due, of those due after now."""
        return await self._ask(lambda ledger: ledger.next_due_ns(destination, now_ns))

    # For people and what they watch.

    async def retry(self, ids: Collection[int]) -> int:
        """Make dead-lettered and postponed points due at once; return how many. Leased ones are left alone."""
        return await self._change_each(ids, Ledger.retry)

    async def drop(self, ids: Collection[int]) -> int:
        """Forget points in any state; return how many. What is leased may be on its way already."""
        return await self._change_each(ids, Ledger.remove)

    async def points(
        self,
        *,
        route: str | None = None,
        target: str | None = None,
        state: State | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> list[StoredPoint]:
        """Return one page of stored points in the order of their ids; `after` is the last id of the page before.

        It is shorter than `limit` where its points are large; after the last page comes an empty one.
        """
        return await self._ask(lambda ledger: ledger.points(route, target, state, after, limit))

    async def point(self, point_id: int) -> StoredPoint | None:
        return await self._ask(lambda ledger: ledger.point(point_id)) if _possible([point_id]) else None

    async def stats(self) -> QueueStats:
        """Return what is in the store; it costs one look at an index for each destination."""
        folder, writer = self._folder.path, self._writer
        return await self._ask(
            lambda ledger: QueueStats(ledger.depths(), ledger.commits, writer.failure, damaged_files(folder))
        )

    async def _change_each(self, ids: Collection[int], change: Callable[..., int]) -> int:
        """Change points some at a time, so that reports come in between."""
        possible = _possible(ids)
        changed = 0
        for start in range(0, len(possible), AT_A_TIME):
            some = possible[start : start + AT_A_TIME]
            changed += await self._within(self._writer.submit(Kind.CHANGE, partial(change, ids=some)), Reason.INTERNAL)
        return changed

    async def _ask(self, question: Callable[[Ledger], Answer]) -> Answer:
        answer: Answer = await self._within(self._writer.submit(Kind.ASK, question), Reason.INTERNAL)
        return answer

    async def _within(self, answer: asyncio.Future[Any], reason: Reason) -> Any:
        """Wait up to DISK_S for a job; then cancel it, unless it has begun."""
        answer.add_done_callback(_look_at)  # the caller may be cancelled while the job continues
        await asyncio.wait([answer], timeout=DISK_S)
        if not answer.done():
            answer.cancel()
            raise UpstreamError.of(reason, f"the disk of the queue did not answer within {DISK_S:g} s")
        return answer.result()

    def _give_back(self, leased: asyncio.Future[Any]) -> None:
        if leased.exception() is None:
            self.release([point.id for point in leased.result()])


def _look_at(answer: asyncio.Future[Any]) -> None:
    """Retrieve the exception, so that asyncio does not log it."""
    if not answer.cancelled():
        answer.exception()


def _open_ledger(folder: Folder, limits: Limits, synchronous: Synchronous) -> Ledger:
    connection = open_database(folder, synchronous)
    try:
        return Ledger(connection, limits, FreeSpace(folder.database, write_ahead_log(folder.database)))
    except sqlite3.Error as error:
        connection.close()
        raise CannotOpen(f"{folder.database}: cannot be read: {error}") from error


def _possible(ids: Collection[int]) -> list[int]:
    """Leave out what a person may have typed and SQLite cannot hold."""
    return [each for each in ids if 0 < each < 2**63]
