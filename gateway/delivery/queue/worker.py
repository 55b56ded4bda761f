"""Delivers the stored points of one destination. A worker repeats: lease due points, send them, settle them.

    the upstream accepted                              ack           deleted
    the upstream, a rule or the mapping rejected,      dead_letter   set aside for manual action
    or the route is gone
    any other failure                                  retry_later   queued, due after its backoff
    not sent                                           release       queued as before

Points are settled as soon as their call has an outcome. If the process exits before that is on disk, they are delivered
again, because leases are kept in memory only.

The oldest points are sent first. After a failure the worker waits (a random time below a bound that doubles, and at
least the vendor's Retry-After), leases no more than one call holds, and prefers points with fewer attempts. Each report
has its own backoff, so a retried report is sent together with others, or alone; a report at which the target always
fails does not block them. A suspect becomes a dead letter: a point whose error may concern only itself, such as 404,
MAX_SUSPECT_ATTEMPTS times while the target accepted others. If the target is `ordered`, all failed points wait
together, and their order is kept.
"""

import asyncio
import random
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from gateway.core.moments import NS
from gateway.core.outcome.errors import GatewayError
from gateway.core.outcome.outcome import Outcome, Reason, failure, settlement_of
from gateway.core.points.decode import Item
from gateway.core.points.rules import Dropped, Violation, apply_rules
from gateway.core.sending.breaker import DOUBTFUL
from gateway.core.sending.coalesce import NOT_ISOLATED
from gateway.core.sending.encode import Group, group_items
from gateway.core.steps import Steps
from gateway.core.vendor.route import Target
from gateway.delivery.dispatch import MAX_CALLS_OF_A_GROUP, Dispatcher
from gateway.delivery.lanes import Parcel
from gateway.delivery.limits import LONGEST_QUIET_S
from gateway.delivery.queue import Destination, LeasedPoint, Store, Timing
from gateway.delivery.queue.records import GroupOf
from gateway.telemetry import Telemetry

# Per call, without a limit of the vendor.
DEFAULT_POINTS = 100
MAX_LEASED = 1000
MAX_SUSPECT_ATTEMPTS = 4
# An older point is encoded again: an expression may depend on the time.
FORM_AGE_S = 10

log = structlog.get_logger()


class Worker:
    """Delivers to one destination. `target` returns its target, or None if the route is gone."""

    def __init__(
        self,
        destination: Destination,
        target: Callable[[], Target | None],
        store: Store,
        dispatcher: Dispatcher,
        telemetry: Telemetry,
        timing: Timing,
    ) -> None:
        self.destination = destination
        self._target = target
        self._store = store
        self._dispatcher = dispatcher
        self._telemetry = telemetry
        self._timing = timing
        self._due = asyncio.Event()
        self._stopping = asyncio.Event()
        self._accepted: list[int] = []  # in this turn of the loop
        self._failures = 0  # in a row
        self._last_delivery = -timing.suspect_s
        self._logged: tuple[object, ...] | None = None  # the error of a target that is failing
        self._failing_since = 0.0

    def wake(self) -> None:
        self._due.set()

    def stop(self) -> None:
        """Finish the batch, and lease no more."""
        self._stopping.set()
        self._due.set()

    async def run(self) -> None:
        """Deliver until stopped or cancelled."""
        while not self._stopping.is_set():
            try:
                pause_s = await self._deliver_some()
            except GatewayError:  # the store cannot be read, and has logged that
                pause_s = self._timing.first_backoff_s
            except Exception:
                log.exception("internal_error", **self.destination._asdict())
                pause_s = self._timing.poll_s
            if pause_s:
                await _wait_for(self._stopping, pause_s)

    async def _deliver_some(self) -> float:
        """Lease, send and settle a batch, or wait until points are due. Return how long to pause."""
        target, now_ns = self._target(), time.time_ns()
        if target is not None and (paused_s := self._dispatcher.limiter.paused_for_s(target)):
            return paused_s
        per_call = (target.limits.points if target else None) or DEFAULT_POINTS
        limit = per_call if self._failures else min(per_call * MAX_CALLS_OF_A_GROUP, MAX_LEASED)
        fresh_first = self._failures > 0 and not (target is not None and target.limits.ordered)
        leased = await self._store.lease(self.destination, limit, now_ns, fresh_first=fresh_first)
        if not leased:
            due_ns = await self._store.next_due_ns(self.destination, now_ns)
            due_s = self._timing.poll_s if due_ns is None else max(0.0, (due_ns - time.time_ns()) / NS)
            await _wait_for(self._due, min(due_s, self._timing.poll_s))
            self._due.clear()
            return 0
        batch = Batch(leased, {point.id for point in leased})
        try:
            if target is None:
                self._dead_letter(
                    batch, leased, failure(Reason.ROUTE_GONE, "no route of this name has this target any more")
                )
                return 0
            parcels = await self._dispatcher.offloader.run(self._parcels(target, batch))
            self._dispatcher.send(self.destination.route, target, parcels)
            for parcel in parcels:
                await parcel.wait()
            return self._retry_later(target, batch)
        finally:
            self._store.release(list(batch.unsettled))

    def _parcels(self, target: Target, batch: "Batch") -> Steps[list[Parcel]]:
        """Return a parcel for each group of a report. Points that can no longer be sent become dead letters.

        Rules and expressions are not evaluated again for points that were stored a moment ago with this snapshot.
        """
        now_ns = time.time_ns()
        time_rules = [rule for rule in target.rules if rule.field == "time_ns"]
        formed: dict[tuple[str, bytes], tuple[GroupOf, list[Item], list[Any]]] = {}
        others: dict[str, list[Item]] = {}
        for index, stored in enumerate(batch.points):
            group = stored.group
            if group is None or group.target is not target or now_ns - stored.received_ns > FORM_AGE_S * NS:
                group = None
                yield False
            try:
                point = apply_rules(time_rules if group else target.rules, stored.point, now_ns=now_ns)
            except (Violation, Dropped) as error:
                outcome = failure(Reason.CANNOT_HOLD, "a rule of the target drops it now")
                if isinstance(error, Violation):
                    outcome = failure(error.reason, f"the target cannot hold it any more: {error.message}")
                self._dead_letter(batch, [stored], outcome)
                continue
            item = Item(index, None, point)
            if group is None or point is not stored.point:
                others.setdefault(stored.report_id, []).append(item)
            else:
                _, items, forms = formed.setdefault((stored.report_id, group.key), (group, [], []))
                items.append(item)
                forms.append(stored.form)
        groups = [
            (report_id, Group(key, group.shared, tuple(items), tuple(forms)))
            for (report_id, key), (group, items, forms) in formed.items()
        ]
        for report_id, items in others.items():
            grouped = yield from self._groups(target, batch, items, now_ns)
            groups += [(report_id, each) for each in grouped]
        return [Parcel(group, report_id, None, partial(self._settle, batch)) for report_id, group in groups]

    def _groups(self, target: Target, batch: "Batch", items: list[Item], now_ns: int) -> Steps[list[Group]]:
        """Group items. Those at which a mapping fails become dead letters."""
        try:
            return (yield from group_items(target, items, now_ns=now_ns))
        except GatewayError as error:
            if len(items) == 1:
                self._dead_letter(batch, [batch.points[items[0].index]], error.outcome)
                return []
        groups = []
        for item in items:
            groups += yield from self._groups(target, batch, [item], now_ns)
        return groups

    def _settle(self, batch: "Batch", items: Sequence[Item], outcome: Outcome) -> None:
        """Settle the points of a call. Those to retry are collected in the batch."""
        if outcome == NOT_ISOLATED:
            return  # released unchanged; other points of the call were found to be the cause
        rejected = {item.index: item for item in outcome.rejected}
        failed = [item.index for item in items if not rejected or item.index in rejected]
        accepted = [batch.points[item.index] for item in items if rejected and item.index not in rejected]
        settlement = settlement_of(outcome)
        batch.was_answered = batch.was_answered or bool(accepted) or settlement != "retry"
        if settlement == "ack":
            accepted += [batch.points[index] for index in failed]
            self._last_delivery = time.monotonic()
        elif settlement == "dead_letter" or self._are_suspects([batch.points[index] for index in failed], outcome):
            for index in failed:
                message = rejected[index].message if rejected else outcome.message
                self._dead_letter(batch, [batch.points[index]], failure(outcome.reason or Reason.INTERNAL, message))
        else:
            batch.failure = outcome
            batch.failed += [batch.points[index] for index in failed]
        if accepted and not self._accepted:  # one statement for all reports of a call
            asyncio.get_running_loop().call_soon(self._ack)
        self._accepted += batch.settle(accepted)

    def _ack(self) -> None:
        ids, self._accepted = self._accepted, []
        self._store.ack(ids)

    def _are_suspects(self, points: Sequence[LeasedPoint], outcome: Outcome) -> bool:
        """Return whether the error may concern only these points, and has come often enough."""
        attempts = min((point.attempts for point in points), default=0)
        accepts_others = time.monotonic() - self._last_delivery < self._timing.suspect_s
        may_be_theirs = outcome.code in DOUBTFUL and outcome.on_failure is None
        return may_be_theirs and attempts >= MAX_SUSPECT_ATTEMPTS and accepts_others

    def _retry_later(self, target: Target, batch: "Batch") -> float:
        """Start the backoff of the failed points; return how long to pause."""
        if batch.failure is None:
            if batch.was_answered and self._logged is not None:
                failed_for_s = round(time.monotonic() - self._failing_since, 1)
                log.info(
                    "target_recovered", **self.destination._asdict(), attempts=self._failures, failed_for_s=failed_for_s
                )
                self._logged = None
            self._failures = 0
            return 0
        self._failures += 1
        pause_s = self._backoff_s(self._failures, batch.failure)
        limiter = self._dispatcher.limiter
        last_error = limiter.last_error(target)
        error = last_error or batch.failure
        next_s = max(pause_s, limiter.paused_for_s(target))
        if last_error is not None or error.reason is not Reason.THROTTLED:  # else our own pace prevented the call
            limiter.plan(target, next_s)
            self._log_failure(error, next_s)
        reports: dict[str, list[LeasedPoint]] = {}
        for point in batch.failed:
            reports.setdefault("" if target.limits.ordered else point.report_id, []).append(point)
        for points in reports.values():
            own_s = pause_s if target.limits.ordered else self._backoff_s(1 + points[0].attempts, batch.failure)
            until_ns = time.time_ns() + int(own_s * NS)
            self._store.retry_later(batch.settle(points), until_ns, error.reason, error.message)
        self._telemetry.series("gateway_retried_points", *self.destination).inc(len(batch.failed))
        return pause_s

    def _backoff_s(self, failures: int, outcome: Outcome) -> float:
        timing = self._timing
        bound_s = min(timing.first_backoff_s * 2 ** min(failures - 1, 10), timing.max_backoff_s)
        return max(random.uniform(0, bound_s), min(outcome.retry_after_s or 0, LONGEST_QUIET_S))

    def _log_failure(self, outcome: Outcome, next_attempt_in_s: float) -> None:
        """Log the first failure of a target, and each change of its error."""
        # Numbers and ids in a message differ between calls with the same error.
        error = (outcome.code, outcome.reason, re.sub(r"[0-9a-f-]{8,}|\d+", "#", outcome.message))
        if self._logged is None:
            self._failing_since = time.monotonic()
        if error != self._logged:
            log.warning(
                "target_failing" if self._logged is None else "target_error_changed",
                **self.destination._asdict(),
                code=str(outcome.code),
                reason=str(outcome.reason) if outcome.reason else None,
                message=outcome.message,
                attempts=self._failures,
                next_attempt_in_s=round(next_attempt_in_s, 1),
            )
        self._logged = error

    def _dead_letter(self, batch: "Batch", points: Sequence[LeasedPoint], outcome: Outcome) -> None:
        reason = outcome.reason or Reason.INTERNAL
        self._store.dead_letter(batch.settle(points), reason, outcome.message)
        self._telemetry.series("gateway_dead_letter_points", *self.destination, reason).inc(len(points))
        reports = sorted({point.report_id for point in points})[:3]
        log.warning(
            "dead_letter",
            **self.destination._asdict(),
            points=len(points),
            reports=reports,
            reason=str(reason),
            message=outcome.message,
        )


@dataclass(slots=True)
class Batch:
    """Points leased together. `failed` ones are retried because of `failure`.

    `was_answered` is whether the target accepted or rejected any of them.
    """

    points: Sequence[LeasedPoint]
    unsettled: set[int]
    failed: list[LeasedPoint] = field(default_factory=list)
    failure: Outcome | None = None
    was_answered: bool = False

    def settle(self, points: Sequence[LeasedPoint]) -> list[int]:
        """Return the ids of points, which are settled by the caller."""
        ids = [point.id for point in points]
        self.unsettled.difference_update(ids)
        return ids


async def _wait_for(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
