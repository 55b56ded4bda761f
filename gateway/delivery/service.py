"""Delivery of a running gateway: from an accepted report to all targets of its route, and the orderly end of it."""

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Self

import structlog

from gateway.core.context import AcceptedReport
from gateway.core.outcome.errors import GatewayError, SpecError
from gateway.core.outcome.outcome import Outcome, Reason, failure
from gateway.core.vendor.route import Route, Target
from gateway.core.vendor.routing import Snapshot
from gateway.delivery.call import CallSender
from gateway.delivery.client import Client
from gateway.delivery.dispatch import Dispatcher
from gateway.delivery.limits import Limiter
from gateway.delivery.queue import Destination, Limits, Store, Timing
from gateway.delivery.queue.queued import Queued
from gateway.delivery.relays import Relays
from gateway.offload import Offloader
from gateway.telemetry import Telemetry

MAX_MIRRORED_REPORTS = 1000
QUEUE_STATS_TIMEOUT_S = 2.0

log = structlog.get_logger()


class DeliveryService:
    """Delivers reports in direct mode and, if there is a store, in queued mode. Survives reloads; its owner closes it.

    Mirrors get a copy in the background: they never delay the first target or make it fail.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        snapshot: Callable[[], Snapshot],
        store: Store | None,
        timing: Timing,
        limiter: Limiter | None,
        offloader: Offloader | None,
    ) -> None:
        self._client = Client()
        calls = CallSender(self._client, telemetry)
        self._dispatcher = Dispatcher(calls, limiter, offloader)
        self._queued = None
        if store is not None:
            self._queued = Queued(store, self._dispatcher, snapshot, telemetry, timing)
        self.store = store
        self.limiter = self._dispatcher.limiter
        self.pass_on = Relays(self._client, calls.sessions, telemetry).pass_on
        self._telemetry = telemetry
        self._snapshot = snapshot
        self._mirroring: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(
        cls,
        telemetry: Telemetry,
        snapshot: Callable[[], Snapshot],
        *,
        data: Path | None = None,
        limits: Limits | None = None,
        offloader: Offloader | None = None,
        timing: Timing | None = None,
        limiter: Limiter | None = None,
    ) -> Self:
        """Open the store if there is a folder for it, and resume its deliveries. Raises CannotOpen."""
        store = None if data is None else await Store.open(data, limits, timing)
        service = cls(telemetry, snapshot, store, timing or Timing(), limiter, offloader)
        if service._queued is not None:
            await service._queued.start()
        return service

    async def deliver(self, route: Route, accepted: AcceptedReport, request_id: str) -> Outcome:
        """Return the outcome of a report at the route's first target. Raises GatewayError."""
        for mirror in route.mirrors:
            self._start_mirror(route, mirror, accepted, request_id)
        return await self._mode_of(route.target).deliver(route.name, route.target, accepted, request_id)

    def wake(self, destination: Destination) -> None:
        """Announce that stored points of a destination are due."""
        if self._queued is not None:
            self._queued.wake(destination)

    def paused_for_s(self, destination: Destination) -> float:
        """Return the remaining pause of a destination in seconds; 0 if its route is gone."""
        route = self._snapshot().route_named(destination.route)
        target = route.target_named(destination.target) if route else None
        return 0.0 if target is None else self.limiter.paused_for_s(target)

    async def measure(self) -> None:
        """Update the metrics of the targets and of the queue."""
        routes = self._snapshot().routes
        targets = {Destination(route.name, target.name): target for route in routes for target in route.targets}
        paused = {each: self.limiter.is_paused(target) for each, target in targets.items()}
        self._telemetry.replace("gateway_target_paused", paused)
        if self.store is not None:
            await self._measure_queue(self.store, targets)

    async def close(self, grace_s: float) -> None:
        """Finish what is under way within the grace period. Undelivered points stay in the store."""
        end = time.monotonic() + grace_s
        if self._queued is not None:
            await self._queued.close(end - time.monotonic())
        if self._mirroring:
            await asyncio.wait(self._mirroring, timeout=max(0.0, end - time.monotonic()))
        for task in self._mirroring:
            task.cancel()
        await asyncio.gather(*self._mirroring, return_exceptions=True)
        await self._dispatcher.close(end - time.monotonic())
        if self.store is not None:
            await self.store.close()
        await self._client.close()

    async def _measure_queue(self, store: Store, served: Collection[Destination]) -> None:
        """Do not wait for a hung disk. A destination without a route is shown while points of it are left."""
        try:
            async with asyncio.timeout(QUEUE_STATS_TIMEOUT_S):
                state = await store.state()
        except (TimeoutError, GatewayError) as error:
            is_closed = isinstance(error, GatewayError) and error.outcome.reason is Reason.SHUTTING_DOWN
            self._telemetry.series("gateway_queue_failing").set(not is_closed)
            return
        depths = {each.destination: each for each in state.targets}
        depths = {to: each for to, each in depths.items() if to in served or any(each.points.values())}
        points = {(*to, state): count for to, each in depths.items() for state, count in each.points.items()}
        self._telemetry.replace("gateway_queue_points", points)
        self._telemetry.replace("gateway_queue_bytes", {to: each.bytes for to, each in depths.items()})
        oldest = {to: each.oldest_s or 0 for to, each in depths.items()}
        self._telemetry.replace("gateway_queue_oldest_seconds", oldest)
        self._telemetry.series("gateway_queue_failing").set(state.failure is not None)
        self._telemetry.series("gateway_queue_damaged_files").set(len(state.damaged_files))

    def _mode_of(self, target: Target) -> Dispatcher | Queued:
        if not target.queued:
            return self._dispatcher
        if self._queued is None:
            raise SpecError.of(Reason.INTERNAL, "the route is queued, but the gateway runs without a data folder")
        return self._queued

    def _start_mirror(self, route: Route, mirror: Target, accepted: AcceptedReport, request_id: str) -> None:
        items = accepted.mirrored.get(mirror.name, ())
        if not items:
            return
        if len(self._mirroring) >= MAX_MIRRORED_REPORTS:
            outcome = failure(Reason.OVERLOADED, "too many reports wait for mirrors")
            self._record_mirror(route, mirror, outcome, request_id)
            return
        copy = replace(accepted, items=items, rejected=(), dropped=0)
        task = asyncio.create_task(self._mirror(route, mirror, copy, request_id))  # noqa: TID251 - close() awaits it
        self._mirroring.add(task)
        task.add_done_callback(self._mirroring.discard)

    async def _mirror(self, route: Route, mirror: Target, accepted: AcceptedReport, request_id: str) -> None:
        try:
            outcome = await self._mode_of(mirror).deliver(route.name, mirror, accepted, request_id)
        except GatewayError as error:
            outcome = error.outcome
        except Exception:
            log.exception("internal_error", route=route.name, mirror=mirror.name)
            outcome = failure(Reason.INTERNAL, "an internal error")
        self._record_mirror(route, mirror, outcome, request_id)

    def _record_mirror(self, route: Route, mirror: Target, outcome: Outcome, request_id: str) -> None:
        labels = (route.name, mirror.name, outcome.code, outcome.reason or "")
        self._telemetry.series("gateway_mirrored_reports", *labels).inc()
        if not outcome.ok:
            log.warning(
                "mirror_failed",
                route=route.name,
                mirror=mirror.name,
                request_id=request_id,
                code=str(outcome.code),
                reason=str(outcome.reason),
                message=outcome.message,
            )
