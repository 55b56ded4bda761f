"""Queued mode: a report succeeds once its data points are on disk. One worker per destination delivers them."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from gateway.core.context import AcceptedReport
from gateway.core.outcome.combine import combine_outcomes
from gateway.core.outcome.outcome import Outcome, RejectedItem
from gateway.core.points.decode import Item
from gateway.core.sending.encode import EncodeContext, encode_group, group_items
from gateway.core.steps import Steps
from gateway.core.vendor.route import Target
from gateway.core.vendor.routing import Snapshot
from gateway.delivery.dispatch import Dispatcher
from gateway.delivery.queue import Destination, NewPoint, Store, Timing
from gateway.delivery.queue.records import GroupOf
from gateway.delivery.queue.worker import Worker
from gateway.delivery.transport import encode_context
from gateway.telemetry import Telemetry

# Of calls that are built as a check: a random id would let the thread of the database interrupt the loop.
CHECKED_CALL_ID = "0" * 32


class Queued:
    """Stores the data points of reports, and owns the workers. Survives reloads; its owner closes it."""

    def __init__(
        self,
        store: Store,
        dispatcher: Dispatcher,
        snapshot: Callable[[], Snapshot],
        telemetry: Telemetry,
        timing: Timing,
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._snapshot = snapshot
        self._new_worker = partial(Worker, store=store, dispatcher=dispatcher, telemetry=telemetry, timing=timing)
        self._workers: dict[Destination, tuple[Worker, asyncio.Task[None]]] = {}
        self._is_closing = False

    async def start(self) -> None:
        """Deliver what is stored, also for routes that are gone."""
        for depth in (await self._store.state()).targets:
            self.wake(depth.destination)

    async def deliver(self, route: str, target: Target, accepted: AcceptedReport, request_id: str) -> Outcome:
        """Return the outcome for the reporter. Raises GatewayError if the points cannot be encoded or stored."""
        destination = Destination(route, target.name)
        points, rejected = await self._dispatcher.offloader.run(
            _new_points(destination, target, accepted.items, request_id)
        )
        await self._store.append(points)
        self.wake(destination)
        return combine_outcomes(accepted, [], rejected)

    def wake(self, destination: Destination) -> None:
        """Announce that points of a destination are due."""
        if self._is_closing:
            return
        if destination not in self._workers:
            worker = self._new_worker(destination, partial(self._target, destination))
            task = asyncio.create_task(worker.run())  # noqa: TID251 - close() awaits it
            self._workers[destination] = (worker, task)
        self._workers[destination][0].wake()

    async def close(self, grace_s: float) -> None:
        """Let each worker finish its batch; after the grace period, release what it has leased."""
        self._is_closing = True
        tasks = [task for _, task in self._workers.values()]
        for worker, _ in self._workers.values():
            worker.stop()
        if tasks:
            await asyncio.wait(tasks, timeout=max(0.0, grace_s))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _target(self, destination: Destination) -> Target | None:
        route = self._snapshot().route_named(destination.route)
        return route.target_named(destination.target) if route else None


def _new_points(
    destination: Destination, target: Target, items: Sequence[Item], request_id: str
) -> Steps[tuple[list[NewPoint], list[RejectedItem]]]:
    """Group items, and check that calls can carry them: the others are rejected while their reporter waits."""
    now = encode_context(target)
    context = EncodeContext(now.now_ns, lambda: CHECKED_CALL_ID, now.size_of)
    points: list[NewPoint] = []
    rejected: list[RejectedItem] = []
    for group in (yield from group_items(target, items, now_ns=context.now_ns)):
        encoded = yield from encode_group(target, group, context)
        rejected += encoded.rejected
        group_of = GroupOf(target, group.key, group.shared)
        points += [
            NewPoint(destination, request_id, item.index, context.now_ns, item.point, group_of, form)
            for call in encoded.calls
            for item, form in zip(call.items, call.forms, strict=True)
        ]
    points.sort(key=lambda new: new.item)
    return points, rejected
