"""Delivers what is stored for one destination: lease, encode, send, then ack, postpone or dead-letter.

A target that fails is not asked for each of its points anew: the whole worker waits, longer each time.
Each report waits for a time of its own, and is tried again in other company.
"""

import asyncio
import random
import re
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial

import structlog

from gateway.core.moments import NS
from gateway.core.outcome.errors import GatewayError
from gateway.core.outcome.outcome import Outcome, Reason, failure
from gateway.core.outcome.settlement import settlement_of
from gateway.core.points.decode import Item
from gateway.core.points.rules import Dropped, Violation, apply_rules
from gateway.core.sending.breaker import DOUBTFUL
from gateway.core.sending.coalesce import NOT_ISOLATED
from gateway.core.sending.encode import group_items
from gateway.core.steps import Steps, finish
from gateway.core.vendor.route import Target
from gateway.delivery.dispatch import MAX_CALLS_OF_A_GROUP, Dispatcher, Parcel
from gateway.delivery.limits import LONGEST_QUIET_S
from gateway.delivery.queue import Destination, LeasedPoint, Store
from gateway.telemetry import Telemetry

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
POINTS_OF_A_CALL = 100
MOST_LEASED = 1000
LOOK_AGAIN_S = 5.0
# A point that failed so often by an error that may be its own becomes a dead letter if others were accepted recently.
MOST_DOUBTFUL = 4
RECENT_S = 600.0

log = structlog.get_logger()


class Worker:
    """Delivers to one destination while `run` runs. `target` gives its target as it is now, None where it is gone."""

    def __init__(
        self,
        destination: Destination,
        target: Callable[[], Target | None],
        store: Store,
        dispatcher: Dispatcher,
        telemetry: Telemetry,
    ) -> None:
        self.destination = destination
        self._target = target
        self._store = store
        self._dispatcher = dispatcher
        self._telemetry = telemetry
        self._something = asyncio.Event()
        self._ending = asyncio.Event()
        self._failures = 0
        self._failing = _Failing(destination)
        self._last_delivery = -RECENT_S

    def wake(self) -> None:
        """Say that there is something new."""
        self._something.set()

    def end(self) -> None:
        """Take on nothing more."""
        self._ending.set()
        self._something.set()

    async def run(self) -> None:
        """Deliver until told to end, or cancelled; what is leased then goes back."""
        while not self._ending.is_set():
            try:
                await self._deliver_some()
            except GatewayError:
                await self._pause(FIRST_WAIT_S)  # the store has told that it cannot be read
            except Exception:
                log.exception("bug", route=self.destination.route, target=self.destination.target)
                await self._pause(LOOK_AGAIN_S)

    async def _deliver_some(self) -> None:
        target, now_ns = self._target(), time.time_ns()
        closed_s = 0.0 if target is None else self._dispatcher.limiter.paused_for_s(target)
        if closed_s:
            await self._pause(closed_s)
            return
        # While the target fails, try what has not failed yet: what failed may be the cause.
        fresh_first = self._failures > 0 and not (target is not None and target.limits.ordered)
        leased = await self._store.lease(self.destination, self._how_many(target), now_ns, fresh_first=fresh_first)
        if leased:
            await self._handle(target, leased)
        else:
            await self._wait_for_something(now_ns)

    def _how_many(self, target: Target | None) -> int:
        """Return how many points to lease: one call's worth where the last one failed."""
        of_a_call = (target.limits.points if target else None) or POINTS_OF_A_CALL
        return of_a_call if self._failures else min(of_a_call * MAX_CALLS_OF_A_GROUP, MOST_LEASED)

    async def _wait_for_something(self, since_ns: int) -> None:
        """Wait for what is new, or for the first that was not yet due then."""
        due_ns = await self._store.next_due_ns(self.destination, since_ns)
        wait_s = LOOK_AGAIN_S if due_ns is None else min(max(0.0, (due_ns - time.time_ns()) / NS), LOOK_AGAIN_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._something.wait()
        self._something.clear()

    async def _pause(self, seconds: float) -> None:
        """Wait so long, or until told to end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ending.wait()

    async def _handle(self, target: Target | None, leased: Sequence[LeasedPoint]) -> None:
        lot = _Lot(leased)
        try:
            if target is None:
                self._dead_letter(
                    lot, leased, failure(Reason.ROUTE_GONE, "no route of this name has this target any more")
                )
                return
            parcels = await self._dispatcher.offloader.run(self._parcels(target, lot))
            self._dispatcher.send(self.destination.route, target, parcels)
            for parcel in parcels:
                await parcel.settled.wait()
            wait_s = self._end(target, lot)
        finally:
            self._store.release(list(lot.left))
        if wait_s:
            await self._pause(wait_s)

    def _parcels(self, target: Target, lot: "_Lot") -> Steps[list[Parcel]]:
        """Return a parcel for each group of a report; points that cannot be sent any more become dead letters."""
        reports: dict[str, list[Item]] = {}
        now_ns = time.time_ns()
        for at, stored in enumerate(lot.points):
            yield False
            try:
                point = apply_rules(target.rules, stored.point, now_ns=now_ns)
                item = Item(at, None, point)
                finish(group_items(target, [item], now_ns=now_ns))
            except (Violation, Dropped, GatewayError) as error:
                self._dead_letter(lot, [stored], _outcome_of(error))
                continue
            reports.setdefault(stored.report_id, []).append(item)
        settle = partial(self._settle, lot)
        parcels = []
        for report_id, items in reports.items():
            groups = yield from group_items(target, items, now_ns=now_ns)
            parcels += [Parcel(each, report_id, None, settle) for each in groups]
        return parcels

    def _settle(self, lot: "_Lot", items: Sequence[Item], outcome: Outcome) -> None:
        """Give points back by what became of them, at once: who dies before that, sends them again."""
        if outcome == NOT_ISOLATED:
            return  # given back as they are: of those that travelled with them, some have been found
        refused = {each.index: each for each in outcome.rejected}
        rest = [item for item in items if not refused or item.index in refused]
        taken = [lot.points[item.index] for item in items if refused and item.index not in refused]
        verdict = settlement_of(outcome)
        lot.answered = lot.answered or bool(taken) or verdict != "retry"
        if verdict == "ack":
            taken += [lot.points[item.index] for item in rest]
            self._last_delivery = time.monotonic()
        elif verdict == "dead_letter" or self._is_poison(lot, rest, outcome):
            for item in rest:
                words = refused[item.index].message if refused else outcome.message
                self._dead_letter(lot, [lot.points[item.index]], failure(outcome.reason or Reason.INTERNAL, words))
        else:
            lot.failed = outcome
            lot.late += [lot.points[item.index] for item in rest]
        self._store.ack(lot.without(taken))

    def _is_poison(self, lot: "_Lot", items: Sequence[Item], outcome: Outcome) -> bool:
        """Tell whether these points keep failing by an error that may be theirs, while the target accepts others."""
        tried = min((lot.points[item.index].attempts for item in items), default=0)
        accepts_others = time.monotonic() - self._last_delivery < RECENT_S
        return outcome.code in DOUBTFUL and outcome.on_failure is None and tried >= MOST_DOUBTFUL and accepts_others

    def _end(self, target: Target, lot: "_Lot") -> float:
        """Postpone what is late, and return for how long nothing is worth a try."""
        if lot.failed is None:
            self._failures = 0
            if lot.answered:
                self._failing.recovered()
            return 0
        self._failures += 1
        wait_s = _wait_s(self._failures, lot.failed)
        limiter = self._dispatcher.limiter
        failed = limiter.last_error(target)
        error = failed or lot.failed
        next_s = max(wait_s, limiter.paused_for_s(target))
        if failed is not None or error.reason is not Reason.THROTTLED:  # else it was not called, to keep to its pace
            limiter.plan(target, next_s)
            self._failing.failed(error, self._failures, next_s)
        for points in [lot.late] if target.limits.ordered else lot.late_reports():
            # Each report for a time of its own: one at which the target always fails then does not for ever keep
            # those from it that once travelled with it.
            own_s = wait_s if target.limits.ordered else _wait_s(1 + points[0].attempts, lot.failed)
            until_ns = time.time_ns() + int(own_s * NS)
            self._store.postpone(lot.without(points), until_ns, error.reason, error.message)
        self._telemetry.retried(*self.destination, len(lot.late))
        return wait_s

    def _dead_letter(self, lot: "_Lot", points: Sequence[LeasedPoint], outcome: Outcome) -> None:
        reason = outcome.reason or Reason.INTERNAL
        self._store.dead_letter(lot.without(points), reason, outcome.message)
        self._telemetry.dead_lettered(*self.destination, reason, len(points))
        log.warning(
            "dead_letter",
            route=self.destination.route,
            target=self.destination.target,
            points=len(points),
            reports=sorted({point.report_id for point in points})[:3],
            reason=str(reason),
            message=outcome.message,
        )


class _Lot:
    """Points that were leased together: which are `left` to give back; `late` ones wait, for a call `failed`.

    `answered` tells whether the target accepted or rejected any of them.
    """

    def __init__(self, points: Sequence[LeasedPoint]) -> None:
        self.points = points
        self.left = {point.id for point in points}
        self.late: list[LeasedPoint] = []
        self.failed: Outcome | None = None
        self.answered = False

    def late_reports(self) -> Iterable[Sequence[LeasedPoint]]:
        reports: dict[str, list[LeasedPoint]] = {}
        for point in self.late:
            reports.setdefault(point.report_id, []).append(point)
        return reports.values()

    def without(self, points: Sequence[LeasedPoint]) -> list[int]:
        """Take points out of those that are left, and return their ids."""
        ids = [point.id for point in points]
        self.left.difference_update(ids)
        return ids


class _Failing:
    """Logs when a destination starts to fail, when its error changes, and when it recovers."""

    def __init__(self, destination: Destination) -> None:
        self._names = {"route": destination.route, "target": destination.target}
        self._error: tuple[object, ...] | None = None
        self._since = 0.0
        self._attempts = 0

    def failed(self, outcome: Outcome, attempts: int, next_attempt_in_s: float) -> None:
        # Numbers and ids in a message differ from call to call, and are no other error.
        error = (outcome.code, outcome.reason, re.sub(r"[0-9a-f-]{8,}|\d+", "#", outcome.message))
        before, self._error, self._attempts = self._error, error, attempts
        if before is None:
            self._since = time.monotonic()
        if error != before:
            log.warning(
                "target_failing" if before is None else "target_error_changed",
                **self._names,
                code=str(outcome.code),
                reason=str(outcome.reason) if outcome.reason else None,
                message=outcome.message,
                attempts=attempts,
                next_attempt_in_s=round(next_attempt_in_s, 1),
            )

    def recovered(self) -> None:
        if self._error is not None:
            failed_for_s = round(time.monotonic() - self._since, 1)
            log.info("target_recovered", **self._names, attempts=self._attempts, failed_for_s=failed_for_s)
        self._error = None


def _outcome_of(error: Violation | Dropped | GatewayError) -> Outcome:
    if isinstance(error, GatewayError):
        return error.outcome
    if isinstance(error, Violation):
        return failure(error.reason, f"the target cannot hold it any more: {error.message}")
    return failure(Reason.CANNOT_HOLD, "a rule of the target drops it now")


def _wait_s(failures: int, outcome: Outcome) -> float:
    """Return a random wait below a bound that doubles; never less than the vendor asks for."""
    longest_s = min(FIRST_WAIT_S * 2 ** min(failures - 1, 10), LONGEST_WAIT_S)
    return max(random.uniform(0, longest_s), min(outcome.retry_after_s or 0, LONGEST_QUIET_S))
