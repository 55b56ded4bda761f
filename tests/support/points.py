"""Points to keep, and a store to keep them in, with real files."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.core.points.point import DataPoint
from gateway.delivery.queue import Depth, Destination, NewPoint, PointFilter, State, Store
from gateway.delivery.queue.ledger import Ledger
from gateway.delivery.queue.records import write_point

HERE, THERE = Destination("a-to-b", "send"), Destination("a-to-b", "mirror")
NOW_NS = 1_700_000_000_000_000_000
S = 1_000_000_000


def new_point(name: str = "m", *, destination: Destination = HERE, index: int = 0, age_s: float = 0) -> NewPoint:
    received_ns = NOW_NS - int(age_s * S)
    point = DataPoint(name, received_ns, namespace="n", value=1.5, unit="s", attributes={"a": "b"})
    return NewPoint(destination=destination, report_id="r", item=index, received_ns=received_ns, point=point)


def append_to(ledger: Ledger, *points: NewPoint) -> None:
    ledger.append(points, [write_point(new.point) for new in points])


@asynccontextmanager
async def open_store(path: Path, *arguments: Any, **settings: Any) -> AsyncIterator[Store]:
    store = await Store.open(path, *arguments, **settings)
    try:
        yield store
    finally:
        await store.close()


async def depth_of(store: Store, destination: Destination = HERE) -> Depth:
    [found] = [each for each in (await store.state()).targets if each.destination == destination]
    return found


async def ids_of(store: Store, state: State | None = None) -> list[int]:
    return [found.id for found in await store.points(PointFilter(state=state))]


async def filled(path: Path, *names: str) -> None:
    """Leave a closed store with these points behind."""
    async with open_store(path) as store:
        await store.append([new_point(name) for name in names])


async def leased(store: Store, limit: int = 100, *, destination: Destination = HERE, now_ns: int = NOW_NS) -> list[str]:
    """Lease, and return the names of the metrics."""
    return [found.point.metric for found in await store.lease(destination, limit, now_ns)]


async def names_in(path: Path) -> list[str]:
    """Open, and return the names of all that can be leased."""
    async with open_store(path) as store:
        return await leased(store, 1_000_000)
