"""The queue as the rest of the gateway uses it. It belongs to the event loop that opened it.

Delivery is at least once: a point is deleted by `ack`, or by a person's `drop`. It is delivered twice only if its ack
was not on disk when the process exited.
"""

import asyncio
import sqlite3
import sys
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from gateway.core.outcome.errors import CallerError, UpstreamError
from gateway.core.outcome.outcome import Reason
from gateway.core.queue_view import Destination, PointFilter, QueueState, StoredPoint
from gateway.delivery.queue.damage import damaged_files
from gateway.delivery.queue.database import open_database
from gateway.delivery.queue.folder import CannotOpen, Folder
from gateway.delivery.queue.free_space import FreeSpace
from gateway.delivery.queue.ledger import Ledger
from gateway.delivery.queue.records import LeasedPoint, NewPoint, write_point
from gateway.delivery.queue.settings import Limits, Timing
from gateway.delivery.queue.writer import Kind, Writer

T = TypeVar("T")
# Change of some points in a transaction; returns how many were changed.
Change = Callable[[Ledger, list[int]], int]
# How many points one transaction changes by filter.
CHUNK = 1000
# How many points are converted to JSON before other tasks run.
POINTS_PER_TURN = 500


class Store:
    """An open queue. Its owner closes it.

    If the disk fails, coroutines raise UpstreamError: QUEUE_FULL for writes, INTERNAL for reads, and SHUTTING_DOWN once
    the store is closed. The next call tries the disk again.
    """

    def __init__(self, folder: Folder, writer: Writer, limits: Limits, timing: Timing) -> None:
        self._folder = folder
        self._writer = writer
        self._limits = limits
        self._timing = timing

    @classmethod
    async def open(cls, path: Path, limits: Limits | None = None, timing: Timing | None = None) -> Self:
        """Lock the folder, set a damaged file aside, and count the points. Raises CannotOpen."""
        limits, timing = limits or Limits(), timing or Timing()
        folder = Folder(path)
        writer = Writer(lambda: _open_ledger(folder, limits), timing.settle_s)
        try:
            await writer.open()
        except BaseException:
            await writer.close()
            folder.release()
            raise
        return cls(folder, writer, limits, timing)

    async def close(self) -> None:
        """Write what waits, and release the folder. Leased points are queued again at the next start."""
        await self._writer.close()
        self._folder.release()

    # For accepted reports.

    async def append(self, points: Sequence[NewPoint]) -> None:
        """Store the points of a report, all or none; they are on disk when this returns.

        Raises UpstreamError (QUEUE_FULL) if a limit or the disk rejects them or the disk takes longer than `disk_s`,
        and CallerError (OVERLOADED) if too many appends wait, or (BAD_FIELD) for text that is not Unicode. If the disk
        was too slow, or this is cancelled, the points may have been stored.
        """
        if self._writer.waiting >= self._limits.max_waiting:
            raise CallerError.of(Reason.OVERLOADED, "too many reports wait for the disk", retry_after_s=1)
        texts = []
        try:
            for number, new in enumerate(points, 1):
                texts.append(write_point(new.point))
                if number % POINTS_PER_TURN == 0:
                    await asyncio.sleep(0)
        except ValueError as error:
            raise CallerError.of(Reason.BAD_FIELD, f"a data point cannot be kept: {error}") from error
        if texts:
            append = self._writer.submit(Kind.WRITE, lambda ledger: ledger.append(points, texts))
            await self._within(append, Reason.QUEUE_FULL)

    # For workers. Each leased point is settled by one of ack, retry_later, dead_letter or release. These return at
    # once; the points stay leased until the change is on disk, and a failing disk is tried again.

    async def lease(
        self, destination: Destination, limit: int, now_ns: int, *, fresh_first: bool = False
    ) -> list[LeasedPoint]:
        """Lease the oldest due points, in the order of their ids; with `fresh_first`, fewest attempts first."""
        lease = partial(Ledger.lease, destination=destination, limit=limit, now_ns=now_ns, fresh_first=fresh_first)
        found: list[LeasedPoint] = await self._writer.submit(Kind.READ, lease)
        return found

    def ack(self, ids: Collection[int]) -> None:
        """Delete delivered points."""
        self._writer.post(Kind.SETTLE, lambda ledger: ledger.delete(ids))

    def retry_later(self, ids: Collection[int], until_ns: int, reason: Reason | None, message: str) -> None:
        """Make points due at `until_ns`, and count an attempt. Stores the first 500 characters of the message."""
        self._writer.post(Kind.SETTLE, lambda ledger: ledger.retry_later(ids, until_ns, reason, message))

    def dead_letter(self, ids: Collection[int], reason: Reason, message: str) -> None:
        """Set points aside for manual action. Stores the first 500 characters of the message."""
        self._writer.post(Kind.SETTLE, lambda ledger: ledger.dead_letter(ids, reason, message))

    def release(self, ids: Collection[int]) -> None:
        """Make points due as before; they were not sent."""
        self._writer.post(Kind.READ, lambda ledger: ledger.release(ids))

    async def next_due_ns(self, destination: Destination, now_ns: int) -> int | None:
        """Return when the first point that is due after now is due."""
        return await self._read(lambda ledger: ledger.next_due_ns(destination, now_ns))

    # For people and metrics.

    async def state(self) -> QueueState:
        """Return what is stored. Costs two index look-ups for each destination."""
        folder, writer, now_ns = self._folder.path, self._writer, time.time_ns()
        return await self._read(
            lambda ledger: QueueState(ledger.depths(now_ns), writer.failure, ledger.commits, damaged_files(folder))
        )

    async def points(self, which: PointFilter, *, after: int = 0, limit: int = 100) -> list[StoredPoint]:
        """Return a page of points by id; `after` is the last id of the page before.

        A page of large points is shorter than `limit`; only an empty page is the last.
        """
        return await self._read(lambda ledger: ledger.matching(which).points(after, limit))

    async def count(self, which: PointFilter) -> int:
        return await self._read(lambda ledger: ledger.matching(which).count())

    async def retry(self, which: PointFilter, limit: int | None = None) -> int:
        """Make the first `limit` matching points due without attempts; return how many. Leased points are left out."""
        return await self._change(Ledger.retry, which, limit)

    async def drop(self, which: PointFilter, limit: int | None = None) -> int:
        """Delete the first `limit` matching points; return how many. A leased point may have been sent."""
        return await self._change(Ledger.delete, which, limit)

    async def _change(self, change: Change, which: PointFilter, limit: int | None) -> int:
        """Change points in transactions of up to CHUNK points. Appends can run in between."""
        changed, after, left = 0, 0, sys.maxsize if limit is None else limit
        while left > 0:
            size = min(left, CHUNK)

            def change_some(ledger: Ledger, after: int = after, size: int = size) -> tuple[list[int], int]:
                ids = ledger.matching(which).ids(after, size)
                return ids, change(ledger, ids) if ids else 0

            ids, number = await self._within(self._writer.submit(Kind.WRITE, change_some), Reason.INTERNAL)
            changed += number
            if len(ids) < size:
                break
            after, left = ids[-1], left - size
        return changed

    async def _read(self, read: Callable[[Ledger], T]) -> T:
        found: T = await self._within(self._writer.submit(Kind.READ, read), Reason.INTERNAL)
        return found

    async def _within(self, done: asyncio.Future[Any], reason: Reason) -> Any:
        """Wait up to `disk_s` for a job; then give it up, unless it has begun."""
        timer = asyncio.get_running_loop().call_later(self._timing.disk_s, self._give_up, done, reason)
        try:
            return await asyncio.shield(done)  # this task may be cancelled while the job runs
        finally:
            timer.cancel()

    def _give_up(self, done: asyncio.Future[Any], reason: Reason) -> None:
        if not done.done():
            message = f"the disk of the queue did not answer within {self._timing.disk_s:g} s"
            done.set_exception(UpstreamError.of(reason, message))


def _open_ledger(folder: Folder, limits: Limits) -> Ledger:
    connection = open_database(folder)
    try:
        return Ledger(connection, limits, FreeSpace(folder.database))
    except sqlite3.Error as error:
        connection.close()
        raise CannotOpen(f"{folder.database}: cannot be read: {error}") from error
