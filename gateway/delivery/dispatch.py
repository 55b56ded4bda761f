"""Sends items to their targets, coalescing reports that wait for the same target.

A parcel holds the items of one report that may go into one call (equal `group_by` values). Parcels with the same target
and group wait in one lane. A lane runs up to four batches at once (one if the target is `ordered`); a lane with room
starts immediately, so coalescing adds no delay. When a batch ends, all parcels that wait by then form the next one.

A batch becomes as few calls as the target's limits permit. If the upstream rejects a whole call and several reports
share it, the call is bisected at report boundaries, in at most 4 log2(n) further calls. After that, each report with a
deadline is sent separately; queued reports return to the queue as NOT_ISOLATED. Senders of rejected reports are not
coalesced for a minute, so that their neighbours are not delayed again.

Each item of a parcel gets exactly one outcome, through `Parcel.settle`. A batch runs in a task of the dispatcher; only
`send_directly` runs it in the task of its caller.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

import structlog
from cachetools import TTLCache

from gateway.core.outcome.combine import Result
from gateway.core.outcome.errors import GatewayError
from gateway.core.outcome.outcome import Outcome, Reason, failure
from gateway.core.points.decode import Item
from gateway.core.sending.coalesce import (
    NOT_ISOLATED,
    CallPart,
    is_rejected_as_whole,
    max_bisect_calls,
    merge,
    outcome_of_part,
)
from gateway.core.sending.encode import Call, Group, encode_group
from gateway.core.steps import Steps
from gateway.core.vendor.route import Target
from gateway.delivery.call import CallSender
from gateway.delivery.limits import Limiter
from gateway.delivery.transport import Deadline, encode_context
from gateway.offload import Offloader

MAX_CALLS_OF_A_GROUP = 4
MAX_MERGED_POINTS = 1000
# How long a sender is not coalesced after a rejected report, and how many such senders are remembered.
SUSPECTED_S = 60.0
MAX_SUSPECTS = 10_000
# With less time left, a call would only be cut off.
MIN_CALL_S = 0.01

log = structlog.get_logger()

OnSettled = Callable[[Sequence[Item], Outcome], None]
Member = tuple["Parcel", Group]
Planned = list[tuple[Call | Outcome, list[CallPart["Parcel"]]]]


class Parcel:
    """Items of one report for one target and group.

    Without a `deadline`, each call may take the target's whole timeout. `on_settled` receives each outcome. `sender`
    identifies whose reports are coalesced; an `alone` parcel is not.
    """

    __slots__ = (
        "_on_settled",
        "_unsettled",
        "_waiter",
        "alone",
        "deadline",
        "group",
        "request_id",
        "results",
        "sender",
    )

    def __init__(
        self,
        group: Group,
        request_id: str,
        deadline: Deadline | None,
        on_settled: OnSettled | None = None,
        *,
        sender: Hashable = None,
    ) -> None:
        self.group = group
        self.sender = sender
        self.alone = False
        self.request_id = request_id
        self.deadline = deadline
        self.results: list[Result] = []
        self._on_settled = on_settled
        self._unsettled = len(group.items)
        self._waiter: asyncio.Future[None] | None = None

    @property
    def left(self) -> list[Item]:
        """The items without an outcome."""
        # By identity, not by index: one item of a report may have become several data points.
        settled = {id(item) for items, _ in self.results for item in items}
        return [item for item in self.group.items if id(item) not in settled]

    def settle(self, items: Sequence[Item], outcome: Outcome) -> None:
        self.results.append((items, outcome))
        self._unsettled -= len(items)
        if self._on_settled is not None:
            self._on_settled(items, outcome)
        if not self._unsettled and self._waiter is not None:
            _wake(self._waiter)

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until all items have an outcome; return False if they do not have one in time."""
        if self._unsettled:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = None if timeout_s is None else loop.call_later(max(0, timeout_s), _wake, self._waiter)
            await self._waiter
            if timer is not None:
                timer.cancel()
        return not self._unsettled


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


@dataclass(slots=True)
class _Lane:
    """Parcels of one target and group. `running` counts the batches under way."""

    key: Hashable
    route: str
    target: Target
    max_running: int
    waiting: deque[Parcel] = field(default_factory=deque)
    running: int = 0

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


class Dispatcher:
    """Owns the lanes and the tasks that send their batches."""

    def __init__(self, calls: CallSender, limiter: Limiter | None = None, offloader: Offloader | None = None) -> None:
        self.limiter = limiter or Limiter()
        self.offloader = offloader or Offloader()
        self._calls = calls
        self._lanes: dict[Hashable, _Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._suspects: TTLCache[Hashable, bool] = TTLCache(MAX_SUSPECTS, SUSPECTED_S)  # (route, sender)

    def send(self, route: str, target: Target, parcels: Iterable[Parcel]) -> None:
        """Queue parcels in their lanes, and start as many batches as may run."""
        joined = {}
        for parcel in parcels:
            lane = self._lane_of(route, target, parcel)
            lane.waiting.append(parcel)
            joined[id(lane)] = lane
        for lane in joined.values():
            self._start_batches(lane)

    async def send_directly(self, route: str, target: Target, parcel: Parcel) -> None:
        """Send a parcel now, in the task of the caller. If its lane has no room, queue it instead."""
        lane = self._lane_of(route, target, parcel)
        if lane.running == lane.max_running:
            lane.waiting.append(parcel)
            return
        lane.running += 1
        try:
            await self._run(lane, [parcel])
        finally:
            lane.running -= 1
            self._start_batches(lane)

    async def close(self, grace_s: float) -> None:
        """Wait for all deliveries; cancel those that exceed the grace period."""
        end = time.monotonic() + grace_s
        while self._tasks and (left_s := end - time.monotonic()) > 0:
            await asyncio.wait(self._tasks, timeout=left_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _lane_of(self, route: str, target: Target, parcel: Parcel) -> _Lane:
        parcel.alone = not target.coalesce or (bool(self._suspects) and (route, parcel.sender) in self._suspects)
        if parcel.alone and not target.limits.ordered:
            return _Lane(None, route, target, 1)
        key = (id(target), parcel.group.key)
        lane = self._lanes.get(key)
        if lane is None:
            max_running = 1 if target.limits.ordered else MAX_CALLS_OF_A_GROUP
            lane = self._lanes[key] = _Lane(key, route, target, max_running)
        return lane

    def _start_batches(self, lane: _Lane) -> None:
        def on_done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            lane.running -= 1
            if not task.cancelled():
                self._start_batches(lane)

        while lane.running < lane.max_running and (batch := lane.next_batch()):
            lane.running += 1
            task = asyncio.create_task(self._run(lane, batch))  # noqa: TID251 - close() awaits it
            self._tasks.add(task)
            task.add_done_callback(on_done)
        if not lane.running and not lane.waiting:
            self._lanes.pop(lane.key, None)

    async def _run(self, lane: _Lane, batch: Sequence[Parcel]) -> None:
        try:
            await self._deliver(lane, [(parcel, parcel.group) for parcel in batch])
            return
        except GatewayError as error:
            outcome = error.outcome
        except Exception:
            log.exception("internal_error", route=lane.route)
            outcome = failure(Reason.INTERNAL, "an internal error")
        for parcel in batch:
            if left := parcel.left:
                parcel.settle(left, outcome)

    async def _deliver(self, lane: _Lane, members: Sequence[Member]) -> None:
        """Send the calls of a batch. The halves of a rejected call go before later calls."""
        calls_left = max_bisect_calls(len(members))
        todo = await self.offloader.run(_plan(lane.target, members))
        while todo:
            call, parts = todo.pop(0)
            outcome = call if isinstance(call, Outcome) else await self._send(lane, call, parts)
            if not outcome.ok and is_rejected_as_whole(outcome):
                if len(parts) > 1:
                    if pieces := _bisect([(part.owner, part.group) for part in parts], calls_left):
                        calls_left -= 2
                        planned = [await self.offloader.run(_plan(lane.target, piece)) for piece in pieces]
                        todo = [*chain.from_iterable(planned), *todo]
                        continue
                    outcome = NOT_ISOLATED
                elif (sender := parts[0].owner.sender) is not None:
                    self._suspects[lane.route, sender] = True
            for part in parts:
                part.owner.settle(part.group.items, outcome_of_part(part, outcome))

    async def _send(self, lane: _Lane, call: Call, parts: Sequence[CallPart[Parcel]]) -> Outcome:
        """Send one call with the latest deadline of its reports. Several reports share the call's own request id."""
        target, first = lane.target, parts[0].owner
        deadlines = [part.owner.deadline for part in parts if part.owner.deadline is not None]
        if len(deadlines) < len(parts):
            deadline = Deadline.after(target.timeout_s)
        else:
            deadline = max(deadlines, key=lambda each: each.end)
        request_id = first.request_id if len(parts) == 1 else call.call_id
        try:
            permit = await self.limiter.admit(target, len(call.items), deadline)
        except GatewayError as error:
            return error.outcome
        outcome = None
        try:
            outcome = await self._calls.deliver_call(lane.route, target, call, request_id, deadline)
            return outcome
        finally:
            permit.end(outcome)


def _bisect(members: Sequence[Member], calls_left: int) -> list[Sequence[Member]]:
    """Split the members of a rejected call. Empty if the limit is reached and a member has no deadline."""
    if calls_left >= 2:
        middle = len(members) // 2
        return [members[:middle], members[middle:]]
    if all(parcel.deadline is not None for parcel, _ in members):
        return [[member] for member in members]
    return []


def _plan(target: Target, members: Sequence[Member]) -> Steps[Planned]:
    """Encode the calls of these members. Parts that no call can carry have an outcome instead.

    May run in a thread, so nothing is settled here.
    """
    merged = merge(members)
    try:
        encoded = yield from encode_group(target, merged.group, encode_context(target))
    except GatewayError as error:
        return [(error.outcome, merged.parts(merged.group.items))]
    planned: Planned = [
        (failure(each.reason, each.message), merged.parts([merged.group.items[each.index]]))
        for each in encoded.rejected
    ]
    return planned + [(call, merged.parts(call.items)) for call in encoded.calls]
