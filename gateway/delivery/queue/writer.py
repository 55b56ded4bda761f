"""The thread that owns the database, and group commit.

All SQLite calls run in one thread. It takes all waiting jobs at once and runs their writes in one transaction: one
fsync for all of them. No delay collects jobs; they collect while the previous transaction is synced.

A write is answered after COMMIT has returned, with its data points on disk. If the process exits before that, nothing
is stored and no reporter has a success reply. If it exits between the commit and the reply, the points are stored and
delivered, and the reporter may report them again. Settlements of leased points (ack, retry later, dead letter) have no
caller; if the process exits before their commit, these points are delivered again.

On a full or failing disk, writes fail with QUEUE_FULL, and the next ones try again. Settlements must not fail with
them, since an ack frees space: they are repeated without the writes, then one by one after deleting the ballast and
checkpointing the WAL, then every `settle_s`. Until then their points stay leased, so they are not sent twice. A hung
disk blocks only this thread: callers time out, and the thread skips the jobs of callers that have given up.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from queue import Empty, SimpleQueue
from typing import Any

import structlog

from gateway.core.outcome.errors import GatewayError, UpstreamError
from gateway.core.outcome.outcome import Reason
from gateway.delivery.queue.database import is_damage
from gateway.delivery.queue.ledger import Ledger

log = structlog.get_logger()


class Kind(Enum):
    READ = auto()  # outside a transaction
    WRITE = auto()  # has a caller, which gets the error if the disk fails
    SETTLE = auto()  # has no caller, and is repeated until the disk accepts it


FAILED = {Kind.READ: "queue_read_failed", Kind.WRITE: "queue_write_failed"}
RECOVERED = {Kind.READ: "queue_read_recovered", Kind.WRITE: "queue_write_recovered"}


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    kind: Kind
    run: Callable[[Ledger], Any]
    done: asyncio.Future[Any] | None = None

    @property
    def is_given_up(self) -> bool:
        return self.done is not None and self.done.done()


Result = tuple[Job, Any]  # the return value of the job, or the exception to raise


class Writer:
    """Runs jobs on the ledger. The public methods belong to the event loop."""

    def __init__(self, open_ledger: Callable[[], Ledger], settle_s: float) -> None:
        self.waiting = 0  # writes that are not answered yet
        self._open_ledger = open_ledger
        self._settle_s = settle_s
        self._loop = asyncio.get_running_loop()
        self._submitted: list[Job] = []  # in this turn of the loop; the thread is woken once for all of them
        self._jobs: SimpleQueue[list[Job] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="queue", daemon=True)
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._is_closing = False
        self._errors: dict[Kind, str] = {}  # of the last read and of the last write, if they failed
        self._unsettled: list[Job] = []
        self._may_shrink = True

    @property
    def failure(self) -> str | None:
        return self._errors.get(Kind.WRITE) or self._errors.get(Kind.READ)

    async def open(self) -> None:
        """Start the thread. Raises what `open_ledger` raises."""
        self._thread.start()
        await asyncio.shield(self._opened)

    def submit(self, kind: Kind, run: Callable[[Ledger], Any]) -> asyncio.Future[Any]:
        """Run a job. The future has its result, or raises a GatewayError."""
        done: asyncio.Future[Any] = self._loop.create_future()
        if self._is_closing:
            done.set_exception(UpstreamError.of(Reason.SHUTTING_DOWN, "the queue is closed"))
        else:
            self.waiting += kind is Kind.WRITE
            self._put(Job(kind, run, done))
        return done

    def post(self, kind: Kind, run: Callable[[Ledger], Any]) -> None:
        """Run a job that has no caller."""
        if not self._is_closing:
            self._put(Job(kind, run))

    async def close(self) -> None:
        """Run the waiting jobs, and end the thread."""
        if not self._is_closing:
            self._is_closing = True
            self._hand_over()
            self._jobs.put(None)
        await self._closed
        self._thread.join()

    def _put(self, job: Job) -> None:
        if not self._submitted:
            self._loop.call_soon(self._hand_over)
        self._submitted.append(job)

    def _hand_over(self) -> None:
        jobs, self._submitted = self._submitted, []
        self._jobs.put(jobs)

    def _answer(self, results: Sequence[Result]) -> None:
        for job, result in results:
            self.waiting -= job.kind is Kind.WRITE
            if job.done is None or job.done.done():
                continue
            if isinstance(result, BaseException):
                job.done.set_exception(result)
            else:
                job.done.set_result(result)

    # In the thread.

    def _work(self) -> None:
        try:
            ledger = self._open_ledger()
        except BaseException as error:
            self._call(self._opened.set_exception, error)
            self._call(self._closed.set_result, None)
            return
        self._call(self._opened.set_result, None)
        is_last = False
        while not is_last:
            jobs, is_last = self._take()
            self._run(ledger, jobs)
        if self._unsettled:
            log.error("settlements_lost", calls=len(self._unsettled), hint="their data points will be delivered again")
        ledger.close()
        self._call(self._closed.set_result, None)

    def _take(self) -> tuple[list[Job], bool]:
        """Wait for a job, and return all waiting ones and whether they are the last."""
        wait_s = 0 if self._may_shrink else self._settle_s if self._unsettled else None
        jobs: list[Job] = []
        try:
            submitted = self._jobs.get(timeout=wait_s)
            while submitted is not None:
                jobs += submitted
                submitted = self._jobs.get_nowait()
        except Empty:
            return jobs, False
        return jobs, True

    def _run(self, ledger: Ledger, jobs: Sequence[Job]) -> None:
        unsettled, self._unsettled = self._unsettled, []
        self._settle(ledger, unsettled)
        if changes := [job for job in jobs if job.kind is not Kind.READ]:
            self._call(self._answer, self._write(ledger, changes))
        if reads := [job for job in jobs if job.kind is Kind.READ]:
            self._call(self._answer, [(job, self._read(ledger, job)) for job in reads])
        try:
            self._may_shrink = ledger.shrink()
        except sqlite3.Error as error:
            self._may_shrink = False
            self._failed(Kind.WRITE, error)

    def _write(self, ledger: Ledger, jobs: Sequence[Job]) -> list[Result]:
        try:
            ledger.measure_space()
            results = _commit(ledger, jobs)
        except Exception as error:
            self._failed(Kind.WRITE, error)
            self._settle(ledger, [job for job in jobs if job.kind is Kind.SETTLE])
            rejected = UpstreamError.of(Reason.QUEUE_FULL, "the queue cannot be written")
            return [(job, rejected) for job in jobs if job.kind is Kind.WRITE]
        self._succeeded(Kind.WRITE)
        return results

    def _settle(self, ledger: Ledger, jobs: Sequence[Job]) -> None:
        """Commit settlements, together or else one by one. Keep those that the disk rejects."""
        if not jobs:
            return
        try:
            _commit(ledger, jobs)
        except sqlite3.Error as error:
            self._failed(Kind.WRITE, error)
            for number, job in enumerate(jobs):
                ledger.free_space()
                try:
                    _commit(ledger, [job])
                except sqlite3.Error:
                    self._unsettled += jobs[number:]
                    return
        except Exception:
            log.exception("settlement_failed", hint="the data points stay leased until a restart")

    def _read(self, ledger: Ledger, job: Job) -> Any:
        if job.is_given_up:
            return None
        try:
            result = job.run(ledger)
        except sqlite3.Error as error:
            self._failed(Kind.READ, error)
            return UpstreamError.of(Reason.INTERNAL, "the queue cannot be read")
        except Exception as error:
            return error
        self._succeeded(Kind.READ)
        return result

    def _failed(self, kind: Kind, error: Exception) -> None:
        if kind not in self._errors:
            hint = "a restart sets the damaged file aside and starts an empty queue" if is_damage(error) else None
            is_ours = not isinstance(error, sqlite3.Error)
            log.error(FAILED[kind], error=str(error), exc_info=is_ours, **({"hint": hint} if hint else {}))
        self._errors[kind] = str(error)

    def _succeeded(self, kind: Kind) -> None:
        if self._errors.pop(kind, None) is not None:
            log.info(RECOVERED[kind])

    def _call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call a function in the event loop, unless that has ended."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)


def _commit(ledger: Ledger, jobs: Sequence[Job]) -> list[Result]:
    """Run jobs in one transaction. A rejected job does not affect the others."""
    results: list[Result] = []
    with ledger.transaction():
        for job in jobs:
            try:
                results.append((job, None if job.is_given_up else job.run(ledger)))
            except GatewayError as error:
                results.append((job, error))
    return results
