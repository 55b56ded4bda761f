"""Delivers a report to all targets of its route, each in its own mode. Of mirrors, the reporter never hears."""

import asyncio
from dataclasses import replace
from typing import Protocol

import structlog

from gateway.core.outcome.errors import GatewayError, SpecError
from gateway.core.outcome.outcome import Outcome, Reason, failure
from gateway.core.pipeline import AcceptedReport
from gateway.core.vendor.route import Route, Target
from gateway.telemetry import Telemetry

MAX_MIRRORING = 1000

log = structlog.get_logger()


class Mode(Protocol):
    """One way to deliver a report to a target; see `Direct` and `Queued`."""

    async def deliver(self, route: str, target: Target, accepted: AcceptedReport, request_id: str) -> Outcome: ...


class Deliveries:
    """Delivers in `direct` mode or, where there is a store, in `queued` mode."""

    def __init__(self, direct: Mode, queued: Mode | None, telemetry: Telemetry) -> None:
        self._direct = direct
        self._queued = queued
        self._telemetry = telemetry
        self._mirroring: set[asyncio.Task[None]] = set()

    async def deliver(self, route: Route, accepted: AcceptedReport, request_id: str) -> Outcome:
        """Return what became of a report at the route's first target. Raises GatewayError."""
        for mirror in route.mirrors:
            self._start(route, mirror, accepted, request_id)
        return await self._mode_of(route.target).deliver(route.name, route.target, accepted, request_id)

    async def close(self, grace_s: float) -> None:
        """Wait for what goes to mirrors; what lasts longer is given up."""
        if self._mirroring:
            await asyncio.wait(self._mirroring, timeout=max(0.0, grace_s))
        for task in self._mirroring:
            task.cancel()
        await asyncio.gather(*self._mirroring, return_exceptions=True)

    def _mode_of(self, target: Target) -> Mode:
        if not target.queued:
            return self._direct
        if self._queued is None:
            raise SpecError.of(Reason.INTERNAL, "this route is queued, and the gateway has no folder for it")
        return self._queued

    def _start(self, route: Route, mirror: Target, accepted: AcceptedReport, request_id: str) -> None:
        items = accepted.mirrored.get(mirror.name, ())
        if not items:
            return
        if len(self._mirroring) >= MAX_MIRRORING:
            self._told(route, mirror, failure(Reason.OVERLOADED, "too many reports wait for mirrors"), request_id)
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
            log.exception("bug", route=route.name, mirror=mirror.name)
            outcome = failure(Reason.INTERNAL, "an internal error")
        self._told(route, mirror, outcome, request_id)

    def _told(self, route: Route, mirror: Target, outcome: Outcome, request_id: str) -> None:
        self._telemetry.mirrored(route.name, mirror.name, outcome)
        if not outcome.ok:
            log.warning(
                "mirror",
                route=route.name,
                mirror=mirror.name,
                request_id=request_id,
                code=str(outcome.code),
                reason=str(outcome.reason),
                message=outcome.message,
            )
