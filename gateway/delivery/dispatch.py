"""Sends items to their targets, coalescing reports that wait for the same target.

A parcel holds the items of one report that may go into one call (equal `group_by` values). Parcels with the same target
and group wait in one lane. A lane runs up to four batches at once (one if the target is `ordered`); a lane with room
starts immediately, so coalescing adds no delay. When a batch ends, all parcels that wait by then form the next one.
While reports arrive faster than calls end, a parcel also waits for those of the same iteration of the event loop.

A batch becomes as few calls as the target's limits permit. If the upstream rejects a whole call and several reports
share it, the call is bisected at report boundaries, in at most 4 log2(n) further calls. After that, each report with a
deadline is sent separately; queued reports return to the queue as NOT_ISOLATED. Senders of rejected reports are not
coalesced for a minute, so that their neighbours are not delayed again.

Each item of a parcel gets exactly one outcome, through `Parcel.settle`. A batch runs in a task of the dispatcher. Only
a small report of one group whose lane has room is sent in the task of its caller, which must not be cancelled when the
reporter disconnects.
"""

import asyncio
import time
from collections.abc import Hashable, Iterable, Sequence
from functools import partial
from itertools import chain

import structlog
from cachetools import TTLCache

from gateway.core.context import AcceptedReport
from gateway.core.outcome.combine import Result, combine_outcomes
from gateway.core.outcome.errors import CallerError, GatewayError
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
from gateway.core.sending.encode import Call, Group, encode_group, group_items
from gateway.core.steps import Steps, finish
from gateway.core.vendor.route import Target
from gateway.delivery.call import CallSender
from gateway.delivery.lanes import Lane, Parcel
from gateway.delivery.limits import Limiter
from gateway.delivery.transport import Deadline, encode_context
from gateway.offload import Offloader

MAX_CALLS_OF_A_GROUP = 4
# In a report, each of them is a call.
MAX_GROUPS = 1000
# Items whose encoding is too short to be offloaded, and does not endanger the deadline.
FEW_ITEMS = 64
# A call that ends at its deadline has a more precise message than ours.
GRACE_S = 0.05
# How long a sender is not coalesced after a rejected report, and how many such senders are remembered.
SUSPECTED_S = 60.0
MAX_SUSPECTS = 10_000

log = structlog.get_logger()

Member = tuple[Parcel, Group]
Planned = list[tuple[Call | Outcome, list[CallPart[Parcel]]]]


class Dispatcher:
    """Owns the lanes and the tasks that send their batches."""

    def __init__(self, calls: CallSender, limiter: Limiter | None = None, offloader: Offloader | None = None) -> None:
        self.limiter = limiter or Limiter()
        self.offloader = offloader or Offloader()
        self._calls = calls
        self._lanes: dict[Hashable, Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._has_suspects = False  # whether a sender was ever remembered
        self._suspects: TTLCache[Hashable, bool] = TTLCache(MAX_SUSPECTS, SUSPECTED_S)  # (route, sender)

    async def deliver(self, route: str, target: Target, accepted: AcceptedReport, request_id: str) -> Outcome:
        """Deliver a report in direct mode. After its deadline, delivery continues.

        Raises SpecError if the provider's expressions fail, and CallerError if the report needs too many calls.
        """
        deadline, is_small = Deadline.after(target.timeout_s), len(accepted.items) <= FEW_ITEMS
        grouping = group_items(target, accepted.items, now_ns=time.time_ns())
        groups = finish(grouping) if is_small else await self.offloader.run(grouping)
        if len(groups) > MAX_GROUPS:
            what = f"the report needs {len(groups)} calls to the upstream; the limit is {MAX_GROUPS}"
            raise CallerError.of(Reason.TOO_LARGE, what)
        sender = (accepted.caller.recipe, accepted.caller.key, accepted.peer)
        parcels = [Parcel(group, request_id, deadline, sender=sender) for group in groups]
        if not is_small or len(parcels) != 1:
            self.send(route, target, parcels)
        elif (lane := self._lane_of(route, target, parcels[0])) is None:
            await self._run(route, target, parcels)
        elif lane.running < lane.max_running and not lane.is_busy:
            lane.running += 1
            try:
                await self._run(route, target, parcels)
            finally:
                lane.running -= 1
                self._start_batches(lane)
        else:
            lane.waiting.append(parcels[0])
            if lane.running < lane.max_running and len(lane.waiting) == 1:
                asyncio.get_running_loop().call_soon(self._start_batches, lane)
        results: list[Result] = []
        for parcel in parcels:
            if parcel.unsettled and not await parcel.wait(deadline.end + GRACE_S - time.monotonic()):
                late = failure(Reason.UPSTREAM_TIMEOUT, f"no answer within {target.timeout_s:g} s")
                results.append((parcel.left, late))
            results += parcel.results
        return combine_outcomes(accepted, results)

    def send(self, route: str, target: Target, parcels: Iterable[Parcel]) -> None:
        """Queue parcels in their lanes, and start as many batches as may run."""
        joined = {}
        for parcel in parcels:
            lane = self._lane_of(route, target, parcel) or Lane(None, route, target, 1)
            lane.waiting.append(parcel)
            joined[id(lane)] = lane
        for lane in joined.values():
            self._start_batches(lane)

    async def close(self, grace_s: float) -> None:
        """Wait for all deliveries; cancel those that exceed the grace period."""
        end = time.monotonic() + grace_s
        while self._tasks and (left_s := end - time.monotonic()) > 0:
            await asyncio.wait(self._tasks, timeout=left_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _lane_of(self, route: str, target: Target, parcel: Parcel) -> Lane | None:
        """Return the lane in which a parcel waits; None if it waits for no other."""
        parcel.alone = not target.coalesce or (self._has_suspects and (route, parcel.sender) in self._suspects)
        if parcel.alone and not target.limits.ordered:
            return None
        key = (id(target), parcel.group.key)
        lane = self._lanes.get(key)
        if lane is None:
            max_running = 1 if target.limits.ordered else MAX_CALLS_OF_A_GROUP
            lane = self._lanes[key] = Lane(key, route, target, max_running)
        return lane

    def _start_batches(self, lane: Lane) -> None:
        while lane.waiting and lane.running < lane.max_running and (batch := lane.next_batch()):
            lane.running += 1
            lane.is_busy = len(batch) > 1
            task = asyncio.create_task(self._run(lane.route, lane.target, batch))  # noqa: TID251 - close() awaits it
            self._tasks.add(task)
            task.add_done_callback(partial(self._on_done, lane))
        if not lane.running and not lane.waiting and self._lanes.get(lane.key) is lane:
            del self._lanes[lane.key]

    def _on_done(self, lane: Lane, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        lane.running -= 1
        if not task.cancelled():
            self._start_batches(lane)

    async def _run(self, route: str, target: Target, batch: Sequence[Parcel]) -> None:
        try:
            if len(batch) == 1:
                await self._deliver_one(route, target, batch[0])
            else:
                await self._deliver_merged(route, target, [(parcel, parcel.group) for parcel in batch])
            return
        except GatewayError as error:
            outcome = error.outcome
        except Exception:
            log.exception("internal_error", route=route)
            outcome = failure(Reason.INTERNAL, "an internal error")
        for parcel in batch:
            if left := parcel.left:
                parcel.settle(left, outcome)

    async def _deliver_one(self, route: str, target: Target, parcel: Parcel) -> None:
        """Send the calls of one parcel. Its items keep their indices, so it needs no merge."""
        group = parcel.group
        encoding = encode_group(target, group, encode_context(target))
        try:
            encoded = finish(encoding) if len(group.items) <= FEW_ITEMS else await self.offloader.run(encoding)
        except GatewayError as error:
            self._settle(route, parcel, group.items, error.outcome)
            return
        if encoded.rejected:
            sent = {id(item) for call in encoded.calls for item in call.items}
            unsent = [item for item in group.items if id(item) not in sent]
            for item, rejected in zip(unsent, encoded.rejected, strict=True):
                self._settle(route, parcel, [item], failure(rejected.reason, rejected.message))
        for call in encoded.calls:
            deadline = parcel.deadline or Deadline.after(target.timeout_s)
            outcome = await self._send(route, target, call, parcel.request_id, deadline)
            self._settle(route, parcel, call.items, outcome)

    def _settle(self, route: str, parcel: Parcel, items: Sequence[Item], outcome: Outcome) -> None:
        """Settle items of a parcel that were sent separately from others."""
        if not outcome.ok and parcel.sender is not None and is_rejected_as_whole(outcome):
            self._suspects[route, parcel.sender] = self._has_suspects = True
        parcel.settle(items, outcome)

    async def _deliver_merged(self, route: str, target: Target, members: Sequence[Member]) -> None:
        """Send the calls of a batch. The halves of a rejected call go before later calls."""
        calls_left = max_bisect_calls(len(members))
        todo = await self._plan(target, members)
        while todo:
            call, parts = todo.pop(0)
            outcome = call if isinstance(call, Outcome) else await self._send_parts(route, target, call, parts)
            if len(parts) == 1:
                self._settle(route, parts[0].owner, parts[0].group.items, outcome_of_part(parts[0], outcome))
                continue
            if not outcome.ok and is_rejected_as_whole(outcome):
                if pieces := _bisect([(part.owner, part.group) for part in parts], calls_left):
                    calls_left -= 2
                    planned = [await self._plan(target, piece) for piece in pieces]
                    todo = [*chain.from_iterable(planned), *todo]
                    continue
                outcome = NOT_ISOLATED
            for part in parts:
                part.owner.settle(part.group.items, outcome_of_part(part, outcome))

    async def _plan(self, target: Target, members: Sequence[Member]) -> Planned:
        is_small = sum([len(group.items) for _, group in members]) <= FEW_ITEMS
        return finish(_plan(target, members)) if is_small else await self.offloader.run(_plan(target, members))

    async def _send_parts(self, route: str, target: Target, call: Call, parts: Sequence[CallPart[Parcel]]) -> Outcome:
        """Send one call with the latest deadline of its reports. Several reports share the call's own request id."""
        deadlines = [part.owner.deadline for part in parts if part.owner.deadline is not None]
        if len(deadlines) < len(parts):
            deadline = Deadline.after(target.timeout_s)
        else:
            deadline = max(deadlines, key=lambda each: each.end)
        request_id = parts[0].owner.request_id if len(parts) == 1 else call.call_id
        return await self._send(route, target, call, request_id, deadline)

    async def _send(self, route: str, target: Target, call: Call, request_id: str, deadline: Deadline) -> Outcome:
        try:
            permit = await self.limiter.admit(target, len(call.items), deadline)
        except GatewayError as error:
            return error.outcome
        outcome = None
        try:
            outcome = await self._calls.deliver_call(route, target, call, request_id, deadline)
            return outcome
        finally:
            self.limiter.end(permit, outcome)


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
