"""A queue with its workers and an upstream, all in one process."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from gateway.core.context import AcceptedReport
from gateway.core.outcome.outcome import Outcome
from gateway.core.pipeline import ANONYMOUS
from gateway.core.points.decode import Item
from gateway.core.points.point import DataPoint
from gateway.core.vendor.route import Route
from gateway.core.vendor.routing import Snapshot, make_snapshot
from gateway.delivery.limits import Limiter
from gateway.delivery.queue import Limits, PointFilter, State, Store, StoredPoint, Timing
from gateway.delivery.service import DeliveryService
from gateway.telemetry import Telemetry
from tests.support.dispatching import ACME
from tests.support.specs import stand_in
from tests.support.upstream import Upstream

# `poll_s` keeps its default: a test must fail if a worker is not woken.
FAST = Timing(first_backoff_s=0.02, max_backoff_s=0.2)


class Queueing:
    """Takes reports into a queue. `snapshot` may be replaced, as a reload does."""

    def __init__(self, outgoing: DeliveryService, snapshot: Snapshot) -> None:
        self.outgoing = outgoing
        self.snapshot = snapshot

    @property
    def route(self) -> Route:
        return self.snapshot.routes[0]

    @property
    def store(self) -> Store:
        assert self.outgoing.store is not None
        return self.outgoing.store

    async def report(self, *metrics: str, time_ns: int | None = None, namespace: str = "n") -> Outcome:
        now_ns = time.time_ns() if time_ns is None else time_ns
        points = [DataPoint(metric, now_ns, namespace=namespace, value=1) for metric in metrics]
        items = tuple(Item(index, None, point) for index, point in enumerate(points))
        mirrored = {mirror.name: items for mirror in self.route.mirrors}
        accepted = AcceptedReport(ANONYMOUS, items, mirrored=mirrored)
        return await self.outgoing.deliver(self.route, accepted, f"report-{metrics[0]}")

    async def dead_letters(self) -> list[StoredPoint]:
        return await self.store.points(PointFilter(state=State.DEAD_LETTER))

    async def until_empty(self, within_s: float = 10) -> None:
        """Wait until nothing is queued or leased."""
        async with asyncio.timeout(within_s):
            while any(depth.queued or depth.leased for depth in (await self.store.state()).targets):
                await asyncio.sleep(0.01)


def queued_route(upstream: Upstream, text: str = ACME, limits: str = "") -> Route:
    route = stand_in(text.replace("LIMITS", limits))
    return replace(
        route, target=replace(route.target, url=replace(route.target.url, host=upstream.host), queued=True, timeout_s=2)
    )


@asynccontextmanager
async def queueing(folder: Path, route: Route, *, limits: Limits | None = None) -> AsyncIterator[Queueing]:
    here: list[Queueing] = []
    snapshot = make_snapshot([route])
    outgoing = await DeliveryService.open(
        Telemetry(),
        lambda: here[0].snapshot if here else snapshot,
        data=folder,
        limits=limits,
        timing=FAST,
        limiter=Limiter(first_pause_s=0.02),
    )
    here.append(Queueing(outgoing, snapshot))
    try:
        yield here[0]
    finally:
        await outgoing.close(1)
