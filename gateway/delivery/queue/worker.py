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
from gateway.delivery.queue.records import Form
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
        self._failures = 0
        self._failure_log = _FailureLog(destination)
        self._last_delivery = -timing.suspect_s

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
                await self._deliver_some()
            except GatewayError:  # the store cannot be read, and has logged that
                await self._pause(self._timing.first_backoff_s)
            except Exception:
                log.exception("internal_error", route=self.destination.route, target=self.destination.target)
                await self._pause(self._timing.poll_s)

    async def _deliver_some(self) -> None:
        target, now_ns = self._target(), time.time_ns()
        paused_s = 0.0 if target is None else self._dispatcher.limiter.paused_for_s(target)
        if paused_s:
            await self._pause(paused_s)
            return
        per_call = (target.limits.points if target else None) or DEFAULT_POINTS
        limit = per_call if self._failures else min(per_call * MAX_CALLS_OF_A_GROUP, MAX_LEASED)
        fresh_first = self._failures > 0 and not (target is not None and target.limits.ordered)
        leased = await self._store.lease(self.destination, limit, now_ns, fresh_first=fresh_first)
        if not leased:
            await self._wait_until_due(now_ns)
            return
        batch = LeasedBatch(leased)
        pause_s = 0.0
        try:
            if target is None:
                gone = failure(Reason.ROUTE_GONE, "no route of this name has this target any more")
                self._dead_letter(batch, leased, gone)
            else:
                parcels = await self._dispatcher.offloader.run(self._parcels(target, batch))
                self._dispatcher.send(self.destination.route, target, parcels)
                for parcel in parcels:
                    await parcel.wait()
                pause_s = self._retry_later(target, batch)
        finally:
            self._store.release(list(batch.unsettled))
        if pause_s:
            await self._pause(pause_s)

    async def _wait_until_due(self, since_ns: int) -> None:
        """Wait until woken, or until the first point is due that was not due at `since_ns`."""
        due_ns = await self._store.next_due_ns(self.destination, since_ns)
        wait_s = self._timing.poll_s
        if due_ns is not None:
            wait_s = min(max(0.0, (due_ns - time.time_ns()) / NS), wait_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._due.wait()
        self._due.clear()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _parcels(self, target: Target, batch: "LeasedBatch") -> Steps[list[Parcel]]:
        """Return a parcel for each group of a report. Points that can no longer be sent become dead letters.

        Rules and expressions are not evaluated again for points that were stored a moment ago with this snapshot.
        """
        now_ns = time.time_ns()
        time_rules = [rule for rule in target.rules if rule.field == "time_ns"]
        groups: dict[tuple[str, bytes], tuple[Form, list[Item], list[Any]]] = {}
        others: dict[str, list[Item]] = {}
        for index, stored in enumerate(batch.points):
            form = stored.form
            if form is None or form.target is not target or now_ns - stored.received_ns > FORM_AGE_S * NS:
                form = None
                yield False
            try:
                point = apply_rules(time_rules if form else target.rules, stored.point, now_ns=now_ns)
            except Violation as error:
                message = f"the target cannot hold it any more: {error.message}"
                self._dead_letter(batch, [stored], failure(error.reason, message))
                continue
            except Dropped:
                self._dead_letter(batch, [stored], failure(Reason.CANNOT_HOLD, "a rule of the target drops it now"))
                continue
            item = Item(index, None, point)
            if form is None or point is not stored.point:
                others.setdefault(stored.report_id, []).append(item)
            else:
                _, items, forms = groups.setdefault((stored.report_id, form.key), (form, [], []))
                items.append(item)
                forms.append(form.value)
        settle = partial(self._settle, batch)
        parcels = [
            Parcel(Group(key, form.shared, tuple(items), tuple(forms)), report_id, None, settle)
            for (report_id, key), (form, items, forms) in groups.items()
        ]
        for report_id, items in others.items():
            grouped = yield from self._groups(target, batch, items, now_ns)
            parcels += [Parcel(group, report_id, None, settle) for group in grouped]
        return parcels

    def _groups(self, target: Target, batch: "LeasedBatch", items: list[Item], now_ns: int) -> Steps[list[Group]]:
        """Group items. Those at which a mapping fails become dead letters."""
        try:
            return (yield from group_items(target, items, now_ns=now_ns))
        except GatewayError as error:
            if len(items) == 1:
                self._dead_letter(batch, [batch.points[items[0].index]], error.outcome)
                return []
        middle = len(items) // 2
        first = yield from self._groups(target, batch, items[:middle], now_ns)
        return first + (yield from self._groups(target, batch, items[middle:], now_ns))

    def _settle(self, batch: "LeasedBatch", items: Sequence[Item], outcome: Outcome) -> None:
        """Settle the points of a call. Those to retry are collected in the batch."""
        if outcome == NOT_ISOLATED:
            return  # released unchanged; other points of the call were found to be the cause
        rejected = {item.index: item for item in outcome.rejected}
        failed = [item for item in items if not rejected or item.index in rejected]
        accepted = [batch.points[item.index] for item in items if rejected and item.index not in rejected]
        settlement = settlement_of(outcome)
        batch.was_answered = batch.was_answered or bool(accepted) or settlement != "retry"
        if settlement == "ack":
            accepted += [batch.points[item.index] for item in failed]
            self._last_delivery = time.monotonic()
        elif settlement == "dead_letter" or self._are_suspects(batch, failed, outcome):
            for item in failed:
                message = rejected[item.index].message if rejected else outcome.message
                reason = outcome.reason or Reason.INTERNAL
                self._dead_letter(batch, [batch.points[item.index]], failure(reason, message))
        else:
            batch.failure = outcome
            batch.failed += [batch.points[item.index] for item in failed]
        self._store.ack(batch.settle(accepted))

    def _are_suspects(self, batch: "LeasedBatch", items: Sequence[Item], outcome: Outcome) -> bool:
        """Return whether the error may concern only these points, and has come often enough."""
        attempts = min((batch.points[item.index].attempts for item in items), default=0)
        accepts_others = time.monotonic() - self._last_delivery < self._timing.suspect_s
        may_be_theirs = outcome.code in DOUBTFUL and outcome.on_failure is None
        return may_be_theirs and attempts >= MAX_SUSPECT_ATTEMPTS and accepts_others

    def _retry_later(self, target: Target, batch: "LeasedBatch") -> float:
        """Start the backoff of the failed points; return how long to pause."""
        if batch.failure is None:
            self._failures = 0
            if batch.was_answered:
                self._failure_log.recovered()
            return 0
        self._failures += 1
        pause_s = self._backoff_s(self._failures, batch.failure)
        limiter = self._dispatcher.limiter
        last_error = limiter.last_error(target)
        error = last_error or batch.failure
        next_s = max(pause_s, limiter.paused_for_s(target))
        if last_error is not None or error.reason is not Reason.THROTTLED:  # else our own pace prevented the call
            limiter.plan(target, next_s)
            self._failure_log.failed(error, self._failures, next_s)
        for points in batch.failed_reports(target.limits.ordered):
            own_s = pause_s if target.limits.ordered else self._backoff_s(1 + points[0].attempts, batch.failure)
            until_ns = time.time_ns() + int(own_s * NS)
            self._store.retry_later(batch.settle(points), until_ns, error.reason, error.message)
        self._telemetry.series("gateway_retried_points", *self.destination).inc(len(batch.failed))
        return pause_s

    def _backoff_s(self, failures: int, outcome: Outcome) -> float:
        timing = self._timing
        bound_s = min(timing.first_backoff_s * 2 ** min(failures - 1, 10), timing.max_backoff_s)
        return max(random.uniform(0, bound_s), min(outcome.retry_after_s or 0, LONGEST_QUIET_S))

    def _dead_letter(self, batch: "LeasedBatch", points: Sequence[LeasedPoint], outcome: Outcome) -> None:
        reason = outcome.reason or Reason.INTERNAL
        self._store.dead_letter(batch.settle(points), reason, outcome.message)
        self._telemetry.series("gateway_dead_letter_points", *self.destination, reason).inc(len(points))
        log.warning(
            "dead_letter",
            route=self.destination.route,
            target=self.destination.target,
            points=len(points),
            reports=sorted({point.report_id for point in points})[:3],
            reason=str(reason),
            message=outcome.message,
        )


class LeasedBatch:
    """Points leased together. `failed` ones are retried because of `failure`.

    `was_answered` is whether the target accepted or rejected any of them.
    """

    def __init__(self, points: Sequence[LeasedPoint]) -> None:
        self.points = points
        self.unsettled = {point.id for point in points}
        self.failed: list[LeasedPoint] = []
        self.failure: Outcome | None = None
        self.was_answered = False

    def settle(self, points: Sequence[LeasedPoint]) -> list[int]:
        """Return the ids of points, which are settled by the caller."""
        ids = [point.id for point in points]
        self.unsettled.difference_update(ids)
        return ids

    def failed_reports(self, together: bool) -> list[list[LeasedPoint]]:
        """Return the failed points by report, or `together` as one."""
        reports: dict[str, list[LeasedPoint]] = {}
        for point in self.failed:
            reports.setdefault("" if together else point.report_id, []).append(point)
        return list(reports.values())


class _FailureLog:
    """Logs when a destination starts to fail, when its error changes, and when it recovers."""

    def __init__(self, destination: Destination) -> None:
        self._names = {"route": destination.route, "target": destination.target}
        self._error: tuple[object, ...] | None = None
        self._since = 0.0
        self._attempts = 0

    def failed(self, outcome: Outcome, attempts: int, next_attempt_in_s: float) -> None:
        # Numbers and ids in a message differ between calls with the same error.
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
