"""The sending half of a running gateway: everything between an accepted report and its targets, and how it ends."""

import asyncio
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Self

from gateway.core.outcome.errors import GatewayError
from gateway.core.outcome.outcome import Reason
from gateway.core.vendor.routing import Snapshot
from gateway.delivery.call import Exchange
from gateway.delivery.client import Client
from gateway.delivery.deliveries import Deliveries
from gateway.delivery.direct import Direct
from gateway.delivery.dispatch import Dispatcher
from gateway.delivery.queue import Destination, Limits, Store
from gateway.delivery.queue.queued import Queued
from gateway.delivery.queue.workers import Workers
from gateway.delivery.relays import Relays
from gateway.telemetry import Telemetry
from gateway.turns import Turns

MEASURE_S = 2.0


class Outgoing:
    """What sends, and what keeps until it can be sent. It outlives reloads; whoever opens it closes it."""

    def __init__(
        self,
        client: Client,
        telemetry: Telemetry,
        snapshot: Callable[[], Snapshot],
        store: Store | None,
        turns: Turns | None = None,
    ) -> None:
        turns = turns or Turns()
        exchange = Exchange(client, telemetry)
        dispatcher = Dispatcher(exchange, turns=turns)
        workers = None if store is None else Workers(store, dispatcher, snapshot, telemetry)
        queued = None if store is None or workers is None else Queued(store, workers.wake, turns)
        self.store = store
        self.gates = dispatcher.gates
        self.deliver = (deliveries := Deliveries(Direct(dispatcher, turns), queued, telemetry)).deliver
        self.pass_on = Relays(client, exchange.sessions, telemetry).pass_on
        self._telemetry = telemetry
        self._snapshot = snapshot
        self._client = client
        self._dispatcher = dispatcher
        self._deliveries = deliveries
        self._workers = workers

    def wake(self, destination: Destination) -> None:
        """Say that stored points of a destination are due."""
        if self._workers is not None:
            self._workers.wake(destination)

    def paused_s(self, destination: Destination) -> float:
        """Return for how long no call goes to a destination; 0 where its route is gone."""
        route = self._snapshot().route_named(destination.route)
        target = route.target_named(destination.target) if route else None
        return 0.0 if target is None else self.gates.closed_s(target)

    async def measure(self) -> None:
        """Bring up to date what metrics tell of the targets and of the queue."""
        routes = self._snapshot().routes
        targets = {Destination(route.name, target.name): target for route in routes for target in route.targets}
        self._telemetry.targets({each: self.gates.is_paused(target) for each, target in targets.items()})
        if self.store is not None:
            await self._measure_queue(self.store, targets)

    async def _measure_queue(self, store: Store, served: Collection[Destination]) -> None:
        """A disk that hangs is not waited for. What no route serves any more is told while something of it is left."""
        try:
            async with asyncio.timeout(MEASURE_S):
                stats = await store.stats()
        except (TimeoutError, GatewayError) as error:
            is_closed = isinstance(error, GatewayError) and error.outcome.reason is Reason.SHUTTING_DOWN
            self._telemetry.queue_failing(not is_closed)
            return
        depths = {each: depth for each, depth in stats.depths.items() if each in served or any(depth.points.values())}
        self._telemetry.queue(depths, time.time_ns())
        self._telemetry.queue_failing(stats.failure is not None)

    @classmethod
    async def open(
        cls,
        telemetry: Telemetry,
        snapshot: Callable[[], Snapshot],
        *,
        data: Path | None = None,
        limits: Limits | None = None,
        turns: Turns | None = None,
    ) -> Self:
        """Open the store, if there is a folder for it, and go on with what it holds. Raises CannotOpen."""
        store = None if data is None else await Store.open(data, limits)
        outgoing = cls(Client(), telemetry, snapshot, store, turns)
        if outgoing._workers is not None:
            await outgoing._workers.start()
        return outgoing

    async def close(self, grace_s: float) -> None:
        """End what is under way within the grace. What is stored and not delivered stays in the store."""
        end = time.monotonic() + grace_s
        if self._workers is not None:
            await self._workers.close(end - time.monotonic())
        await self._deliveries.close(end - time.monotonic())
        await self._dispatcher.close(end - time.monotonic())
        if self.store is not None:
            await self.store.close()
        await self._client.close()
