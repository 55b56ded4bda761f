"""Parcels of data points, and the lanes in which they wait for their target."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

from gateway.core.outcome.combine import Result
from gateway.core.outcome.outcome import Outcome, Reason, failure
from gateway.core.points.decode import Item
from gateway.core.sending.encode import Group
from gateway.core.vendor.route import Target
from gateway.delivery.transport import Deadline

MAX_MERGED_POINTS = 1000
# With less time left, a call would only be cut off.
MIN_CALL_S = 0.01

OnSettled = Callable[[Sequence[Item], Outcome], None]


@dataclass(slots=True, eq=False)
class Parcel:
    """Items of one report for one target and group.

    Without a `deadline`, each call may take the target's whole timeout. `on_settled` receives each outcome. `sender`
    identifies whose reports are coalesced; an `alone` parcel is not. `unsettled` counts the items without an outcome.
    """

    group: Group
    request_id: str
    deadline: Deadline | None
    on_settled: OnSettled | None = None
    sender: Hashable = None
    alone: bool = False
    results: list[Result] = field(default_factory=list)
    unsettled: int = field(init=False)
    _waiter: asyncio.Future[None] | None = None

    def __post_init__(self) -> None:
        self.unsettled = len(self.group.items)

    @property
    def left(self) -> list[Item]:
        """The items without an outcome."""
        # By identity, not by index: one item of a report may have become several data points.
        settled = {id(item) for items, _ in self.results for item in items}
        return [item for item in self.group.items if id(item) not in settled]

    def settle(self, items: Sequence[Item], outcome: Outcome) -> None:
        self.results.append((items, outcome))
        self.unsettled -= len(items)
        if self.on_settled is not None:
            self.on_settled(items, outcome)
        if not self.unsettled and self._waiter is not None:
            _wake(self._waiter)

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until all items have an outcome; return False if they do not have one in time."""
        if self.unsettled:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = None if timeout_s is None else loop.call_later(max(0, timeout_s), _wake, self._waiter)
            await self._waiter
            if timer is not None:
                timer.cancel()
        return not self.unsettled


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


@dataclass(slots=True)
class Lane:
    """Parcels of one target and group. `running` counts the batches under way.

    A lane is busy if its last batch had several parcels. Reports then arrive together, and a parcel waits for the other
    parcels of the same iteration of the event loop.
    """

    key: Hashable
    route: str
    target: Target
    max_running: int
    waiting: deque[Parcel] = field(default_factory=deque)
    running: int = 0
    is_busy: bool = False

    def next_batch(self) -> list[Parcel]:
        """Remove and return parcels for one call, at least one if any still has time."""
        max_points = self.target.limits.points or MAX_MERGED_POINTS
        batch: list[Parcel] = []
        points = 0
        while self.waiting:
            parcel = self.waiting[0]
            if batch and (parcel.alone or batch[-1].alone or points + len(parcel.group.items) > max_points):
                break
            self.waiting.popleft()
            if parcel.deadline is not None and parcel.deadline.comes_within(MIN_CALL_S):
                late = failure(Reason.UPSTREAM_TIMEOUT, "earlier calls to this target took too long")
                parcel.settle(parcel.left, late)
                continue
            batch.append(parcel)
            points += len(parcel.group.items)
        return batch
