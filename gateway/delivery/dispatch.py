"""Brings items to their targets. What waits for the same target travels together; nothing waits while nothing runs.

It knows neither who waits for an outcome nor whether anybody does: see `direct.py` for reports whose reporter waits.
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
    BatchMember,
    CallPart,
    is_rejected_as_whole,
    max_bisect_calls,
    merge,
    outcome_of_part,
)
from gateway.core.sending.encode import Call, Group, encode_group_steps
from gateway.core.steps import Steps
from gateway.core.vendor.route import Target
from gateway.delivery.call import Exchange
from gateway.delivery.courier import encoder_for
from gateway.delivery.deadline import Deadline
from gateway.delivery.limits import Gates
from gateway.turns import Turns

# A further call of a group starts at once while fewer than these are under way; what comes then, waits and is merged.
MAX_CALLS_OF_A_GROUP = 4
MAX_MERGED_POINTS = 1000
# How long a sender is not coalesced after a rejected report, in seconds, and how many such senders are remembered.
SUSPECTED_S = 60.0
MAX_SUSPECTS = 10_000
# With less time than this left, a call would only be broken off.
WORTH_SENDING_S = 0.01

log = structlog.get_logger()

Told = Callable[[Sequence[Item], Outcome], None]


class Parcel:
    """Items of one report for one target, alike in their `group_by` values. `settled` is set once all have an outcome.

    Without a `deadline` each call has the whole time of its target. `told` hears of each outcome as it comes. A parcel
    that is `alone` shares its call with no other.
    """

    def __init__(
        self,
        group: Group,
        request_id: str,
        deadline: Deadline | None,
        told: Told | None = None,
        *,
        sender: Hashable = None,
    ) -> None:
        self.group = group
        self.sender = sender
        self.alone = False
        self.request_id = request_id
        self.deadline = deadline
        self.results: list[Result] = []
        self.settled = asyncio.Event()
        self._told = told
        # Not by their indices: several data points may have been one item of the report.
        self._left = {id(item): item for item in group.items}

    @property
    def left(self) -> list[Item]:
        """The items that have no outcome yet."""
        return list(self._left.values())

    def settle(self, items: Sequence[Item], outcome: Outcome) -> None:
        self.results.append((items, outcome))
        if self._told is not None:
            self._told(items, outcome)
        for item in items:
            self._left.pop(id(item), None)
        if not self._left:
            self.settled.set()


@dataclass(slots=True)
class _Lane:
    """The parcels of one target that may travel together. `running` counts the batches under way."""

    route: str
    target: Target
    most: int
    waiting: deque[Parcel] = field(default_factory=deque)
    running: int = 0


class Dispatcher:
    """Sends parcels through exchanges. It owns the tasks that do so, and outlives whoever waits for them."""

    def __init__(self, exchange: Exchange, gates: Gates | None = None, turns: Turns | None = None) -> None:
        self.gates = gates or Gates()
        self.turns = turns or Turns()
        self._exchange = exchange
        self._lanes: dict[Hashable, _Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # (route, sender) of recently rejected reports.
        self._suspects: TTLCache[Hashable, bool] = TTLCache(MAX_SUSPECTS, SUSPECTED_S)

    def send(self, route: str, target: Target, parcels: Iterable[Parcel]) -> None:
        """Take parcels on, which may travel together; what becomes of each, it is told."""
        most = 1 if target.limits.ordered else MAX_CALLS_OF_A_GROUP
        joined: dict[Hashable, _Lane] = {}
        for parcel in parcels:
            parcel.alone = not target.coalesce or (route, parcel.sender) in self._suspects
            apart = id(parcel) if parcel.alone and not target.limits.ordered else None
            key: Hashable = (id(target), parcel.group.key, apart)
            lane = joined[key] = self._lanes.setdefault(key, _Lane(route, target, most))
            lane.waiting.append(parcel)
        for key, lane in joined.items():
            self._pump(key, lane)

    async def close(self, grace_s: float) -> None:
        """Wait for what is under way, also for reporters that have hung up; what lasts longer is given up."""
        end = time.monotonic() + grace_s
        while self._tasks and (left_s := end - time.monotonic()) > 0:
            await asyncio.wait(self._tasks, timeout=left_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _pump(self, key: Hashable, lane: _Lane) -> None:
        while lane.running < lane.most and (batch := _take(lane)):
            lane.running += 1
            task = asyncio.create_task(self._run(lane, batch))  # noqa: TID251 - close() awaits it
            self._tasks.add(task)
            task.add_done_callback(self._ended(key, lane))
        if not lane.running and not lane.waiting:
            self._lanes.pop(key, None)

    def _ended(self, key: Hashable, lane: _Lane) -> Callable[[asyncio.Task[None]], None]:
        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            lane.running -= 1
            if not task.cancelled():
                self._pump(key, lane)

        return ended

    async def _run(self, lane: _Lane, batch: Sequence[Parcel]) -> None:
        try:
            await self._deliver(lane, [BatchMember(parcel, parcel.group) for parcel in batch])
        except GatewayError as error:
            _settle_rest(batch, error.outcome)
        except Exception:
            log.exception("bug", route=lane.route)
            _settle_rest(batch, failure(Reason.INTERNAL, "an internal error"))

    async def _deliver(self, lane: _Lane, shares: Sequence[BatchMember[Parcel]]) -> None:
        """Send shares in as few calls as may be; a call that is refused as a whole is parted between its reports.

        The call is split in half repeatedly. At the limit of further calls, each report that has a deadline is sent
        separately. The halves of a call go before later calls, so that at least one rejected report is found.
        """
        further = max_bisect_calls(len(shares))
        todo = await self.turns.take(_planned(lane.target, shares))
        while todo:
            call, parts = todo.pop(0)
            outcome = call if isinstance(call, Outcome) else await self._sent(lane, call, parts)
            if is_rejected_as_whole(outcome) and len(parts) > 1:
                if pieces := _pieces([part.share for part in parts], further):
                    further -= 2
                    planned = [await self.turns.take(_planned(lane.target, piece)) for piece in pieces]
                    todo = [*chain.from_iterable(planned), *todo]
                    continue
                outcome = NOT_ISOLATED
            elif is_rejected_as_whole(outcome) and (sender := parts[0].share.owner.sender) is not None:
                self._suspects[lane.route, sender] = True
            for part in parts:
                part.share.owner.settle(part.share.group.items, outcome_of_part(part, outcome))

    async def _sent(self, lane: _Lane, call: Call, parts: Sequence[CallPart[Parcel]]) -> Outcome:
        try:
            return await self._send(lane, call, [part.share.owner for part in parts])
        except GatewayError as error:
            return error.outcome

    async def _send(self, lane: _Lane, call: Call, parcels: Sequence[Parcel]) -> Outcome:
        """Send one call. It has the time of whoever can wait longest; many reports share the call's own id."""
        deadlines = [parcel.deadline for parcel in parcels if parcel.deadline is not None]
        deadline = Deadline.after(lane.target.timeout_s)
        if len(deadlines) == len(parcels):
            deadline = max(deadlines, key=lambda each: each.end)
        request_id = parcels[0].request_id if len(parcels) == 1 else call.call_id
        async with self.gates.passing(lane.target, len(call.items), deadline) as passage:
            outcome = await self._exchange.run(lane.route, lane.target, call, request_id, deadline)
            passage.tell(outcome)
        return outcome


def _take(lane: _Lane) -> list[Parcel]:
    """Take from the lane what fits into one call, and at least one parcel; who waits no longer is left out."""
    most = lane.target.limits.points or MAX_MERGED_POINTS
    batch: list[Parcel] = []
    points = 0
    while lane.waiting:
        parcel = lane.waiting[0]
        if batch and (parcel.alone or batch[-1].alone or points + len(parcel.group.items) > most):
            break
        lane.waiting.popleft()
        if parcel.deadline is not None and parcel.deadline.comes_within(WORTH_SENDING_S):
            parcel.settle(parcel.left, failure(Reason.UPSTREAM_TIMEOUT, "other reports of this target took too long"))
            continue
        batch.append(parcel)
        points += len(parcel.group.items)
    return batch


def _pieces(shares: Sequence[BatchMember[Parcel]], further: int) -> list[Sequence[BatchMember[Parcel]]]:
    """Split the shares of a rejected call. Empty if the limit is reached and a share has no deadline."""
    if further >= 2:
        middle = len(shares) // 2
        return [shares[:middle], shares[middle:]]
    return [[share] for share in shares] if all(share.owner.deadline is not None for share in shares) else []


def _planned(
    target: Target, shares: Sequence[BatchMember[Parcel]]
) -> Steps[list[tuple[Call | Outcome, list[CallPart[Parcel]]]]]:
    """Return the calls that carry these shares, each with its parts, or what becomes of parts that no call carries.

    It may run in a thread: nothing is settled here.
    """
    merged = merge(shares)
    try:
        encoded = yield from encode_group_steps(target, merged.group, encoder_for(target))
    except GatewayError as error:
        return [(error.outcome, merged.parts(merged.group.items))]
    too_large: list[tuple[Call | Outcome, list[CallPart[Parcel]]]] = [
        (failure(each.reason, each.message), merged.parts([merged.group.items[each.index]]))
        for each in encoded.rejected
    ]
    return [*too_large, *((call, merged.parts(call.items)) for call in encoded.calls)]


def _settle_rest(batch: Sequence[Parcel], outcome: Outcome) -> None:
    for parcel in batch:
        if parcel.left:
            parcel.settle(parcel.left, outcome)
