"""One worker for each destination that has, or may get, stored data points. They live across reloads."""

import asyncio
from collections.abc import Callable
from functools import partial

from gateway.core.vendor.route import Target
from gateway.core.vendor.routing import Snapshot
from gateway.delivery.dispatch import Dispatcher
from gateway.delivery.queue import Destination, Store
from gateway.delivery.queue.worker import Worker
from gateway.telemetry import Telemetry


class Workers:
    """Starts workers and ends them. `snapshot` gives the routes as they are now."""

    def __init__(
        self, store: Store, dispatcher: Dispatcher, snapshot: Callable[[], Snapshot], telemetry: Telemetry
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._snapshot = snapshot
        self._telemetry = telemetry
        self._running: dict[Destination, tuple[Worker, asyncio.Task[None]]] = {}
        self._ending = False

    async def start(self) -> None:
        """Begin to deliver what was stored before, whether its route is still there or not."""
        for destination in (await self._store.stats()).depths:
            self._worker(destination)

    def wake(self, destination: Destination) -> None:
        """Say that a destination has something new. While all end, it waits for the next start."""
        if not self._ending:
            self._worker(destination).wake()

    async def close(self, grace_s: float) -> None:
        """Let each worker end what it is at; what lasts longer goes back into the store."""
        self._ending = True
        tasks = [task for _, task in self._running.values()]
        for worker, _ in self._running.values():
            worker.end()
        if tasks:
            await asyncio.wait(tasks, timeout=max(0.0, grace_s))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _worker(self, destination: Destination) -> Worker:
        if destination not in self._running:
            target = partial(self._target, destination)
            worker = Worker(destination, target, self._store, self._dispatcher, self._telemetry)
            task = asyncio.create_task(worker.run())  # noqa: TID251 - close() awaits it
            self._running[destination] = (worker, task)
        return self._running[destination][0]

    def _target(self, destination: Destination) -> Target | None:
        route = self._snapshot().route_named(destination.route)
        return route.target_named(destination.target) if route else None
