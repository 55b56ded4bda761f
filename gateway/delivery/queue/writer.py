"""The one thread that touches the database. Whatever waits when it looks shares one transaction, and one fsync.

There is no delay to gather more: while one fsync runs, the next transaction gathers by itself.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
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

# How often changes are tried again that the disk did not take.
SETTLE_AGAIN_S = 1.0

Answer = tuple["Job", Any]  # a result, or the exception to raise


class Kind(Enum):
    """What a disk that fails means to a job.

    ASK: it only looks, after the transaction. CHANGE: somebody waits for it, and is refused. SETTLE: it says what has
    become of leased points, and is tried until the disk takes it; until then they stay leased, so that they are not
    sent twice while this process runs.
    """

    ASK = auto()
    CHANGE = auto()
    SETTLE = auto()


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    kind: Kind
    run: Callable[[Ledger], Any]
    done: asyncio.Future[Any] | None = None

    @property
    def is_given_up(self) -> bool:
        """Whether its caller gave up. The thread then skips it."""
        return self.done is not None and self.done.cancelled()


class Writer:
    """Runs jobs on the ledger. Its methods belong to the event loop, all that is below `_work` to its thread."""

    def __init__(self, open_ledger: Callable[[], Ledger]) -> None:
        self.waiting = 0
        self._open_ledger = open_ledger
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="queue", daemon=True)
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._ended = False
        self._writing = Health("written")
        self._reading = Health("read")
        self._unsettled: list[Job] = []
        self._untidy = True

    @property
    def failure(self) -> str | None:
        return self._writing.failure or self._reading.failure

    async def open(self) -> None:
        """Start. Raises what `open_ledger` raises."""
        self._thread.start()
        await asyncio.shield(self._opened)

    def submit(self, kind: Kind, run: Callable[[Ledger], Any]) -> asyncio.Future[Any]:
        """Let the thread run it; the future has its result, or raises a GatewayError."""
        done: asyncio.Future[Any] = self._loop.create_future()
        if self._ended:
            done.set_exception(UpstreamError.of(Reason.SHUTTING_DOWN, "the queue is closed"))
        else:
            self.waiting += kind is Kind.CHANGE
            self._jobs.put(Job(kind, run, done))
        return done

    def tell(self, kind: Kind, run: Callable[[Ledger], Any]) -> None:
        """Let the thread run it; nobody waits."""
        if not self._ended:
            self._jobs.put(Job(kind, run))

    async def close(self) -> None:
        """Run what waits, and end the thread."""
        if not self._ended:
            self._ended = True
            self._jobs.put(None)
        await self._closed
        self._thread.join()

    def _deliver(self, answers: Sequence[Answer]) -> None:
        for job, result in answers:
            self.waiting -= job.kind is Kind.CHANGE
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
        ended = False
        while not ended:
            jobs, ended = self._take()
            self._batch(ledger, jobs)
        if self._unsettled:
            log.error(
                "the disk did not take what became of points; they will be sent again", calls=len(self._unsettled)
            )
        ledger.close()
        self._call(self._closed.set_result, None)

    def _take(self) -> tuple[list[Job], bool]:
        """Wait for a job, and return it with all that wait behind it; tell whether it was the last."""
        wait_s = 0 if self._untidy else SETTLE_AGAIN_S if self._unsettled else None
        jobs: list[Job] = []
        try:
            job = self._jobs.get(timeout=wait_s)
            while job is not None:
                jobs.append(job)
                job = self._jobs.get_nowait()
        except Empty:
            return jobs, False
        return jobs, True

    def _batch(self, ledger: Ledger, jobs: Sequence[Job]) -> None:
        late, self._unsettled = self._unsettled, []
        self._settle(ledger, late)
        if changes := [job for job in jobs if job.kind is not Kind.ASK]:
            self._call(self._deliver, self._change(ledger, changes))
        if questions := [job for job in jobs if job.kind is Kind.ASK]:
            self._call(self._deliver, [(job, self._ask(ledger, job)) for job in questions])
        self._untidy = self._tidy(ledger)

    def _change(self, ledger: Ledger, jobs: Sequence[Job]) -> list[Answer]:
        try:
            ledger.look_for_room()
            answers = _commit(ledger, jobs)
        except Exception as error:
            self._writing.failed(error)
            # What frees room must not fail with what takes some.
            self._settle(ledger, [job for job in jobs if job.kind is Kind.SETTLE])
            refused = UpstreamError.of(Reason.QUEUE_FULL, "the queue cannot be written")
            return [(job, refused) for job in jobs if job.kind is Kind.CHANGE]
        self._writing.fine()
        return answers

    def _settle(self, ledger: Ledger, jobs: Sequence[Job]) -> None:
        if not jobs:
            return
        try:
            _commit(ledger, jobs)
        except sqlite3.Error as error:
            self._writing.failed(error)
            self._unsettled += self._settle_each(ledger, jobs)
        except Exception:
            # Our bug, and no reason to stop the queue: the points are sent again after a restart.
            log.exception("what became of leased points cannot be written; they stay leased")

    def _settle_each(self, ledger: Ledger, jobs: Sequence[Job]) -> Sequence[Job]:
        """Settle jobs one by one with a WAL checkpoint before each. Return those that the full disk did not take."""
        for at, job in enumerate(jobs):
            ledger.make_room()
            try:
                _commit(ledger, [job])
            except sqlite3.Error:
                return jobs[at:]
        return []

    def _ask(self, ledger: Ledger, job: Job) -> Any:
        if job.is_given_up:
            return None
        try:
            result = job.run(ledger)
        except sqlite3.Error as error:
            self._reading.failed(error)
            return UpstreamError.of(Reason.INTERNAL, "the queue cannot be read")
        except Exception as error:
            return error
        self._reading.fine()
        return result

    def _tidy(self, ledger: Ledger) -> bool:
        try:
            return ledger.tidy()
        except sqlite3.Error as error:
            self._writing.failed(error)
            return False

    def _call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call it in the event loop. A loop that has ended has nobody left to tell."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)


class Health:
    """Whether the disk works, said in the log once each time that this changes."""

    def __init__(self, verb: str) -> None:
        self.failure: str | None = None
        self._verb = verb

    def failed(self, error: Exception) -> None:
        if self.failure is None:
            hint = (
                {"hint": "a restart sets the damaged file aside and starts an empty queue"} if _is_damage(error) else {}
            )
            ours = not isinstance(error, sqlite3.Error)
            log.error(f"the queue cannot be {self._verb}", why=str(error), exc_info=ours, **hint)
        self.failure = str(error)

    def fine(self) -> None:
        if self.failure is not None:
            log.info(f"the queue can be {self._verb} again")
        self.failure = None


def _commit(ledger: Ledger, jobs: Iterable[Job]) -> list[Answer]:
    """Run the jobs in one transaction. One that is refused harms no other."""
    answers: list[Answer] = []
    with ledger.transaction():
        for job in jobs:
            if job.is_given_up:
                answers.append((job, None))
                continue
            try:
                answers.append((job, job.run(ledger)))
            except GatewayError as error:
                answers.append((job, error))
    return answers


def _is_damage(error: Exception) -> bool:
    return isinstance(error, sqlite3.Error) and is_damage(error)
