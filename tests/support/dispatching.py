"""Reports on their way to an upstream through a dispatcher, all of it in one process."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from gateway.core.context import AcceptedReport
from gateway.core.outcome.outcome import Outcome
from gateway.core.pipeline import ANONYMOUS
from gateway.core.points.decode import Item
from gateway.core.points.point import DataPoint
from gateway.core.vendor.route import Route
from gateway.delivery.call import CallSender
from gateway.delivery.client import Client
from gateway.delivery.dispatch import Dispatcher
from gateway.delivery.limits import Limiter
from gateway.telemetry import Telemetry
from tests.support.specs import stand_in
from tests.support.upstream import Behaviour, Upstream, answers

ACME = """
provider: acme
limits: {LIMITS}
send:
  group_by: [namespace]
  item: metric
  request: {method: POST, path: /, headers: {x-namespace: "{namespace}"}, json: items}
  outcome:
    - {status: 200, code: OK}
    - {status: 422, code: INVALID_ARGUMENT, message: text, rejected: {each: body, index: "@", message: "'named'"}}
    - {message: text}
"""


class Acme:
    """Takes reports to an upstream, and keeps what it was sent."""

    def __init__(self, route: Route, upstream: Upstream, dispatcher: Dispatcher) -> None:
        self.upstream = upstream
        self.route = route
        self._dispatcher = dispatcher

    async def report(self, *metrics: str, namespace: str = "n", peer: str | None = None) -> Outcome:
        return await self._report([DataPoint(metric, 1, namespace=namespace, value=1) for metric in metrics], peer)

    async def _report(self, points: Sequence[DataPoint], peer: str | None = None) -> Outcome:
        items = tuple(Item(index, None, point) for index, point in enumerate(points))
        accepted = AcceptedReport(ANONYMOUS, items, peer=peer)
        return await self._dispatcher.deliver("acme", self.route.target, accepted, "request-1")

    async def report_groups(self, *namespaces: str) -> Outcome:
        """Report a data point in each namespace: as many calls as there are."""
        points = [DataPoint("m", 1, namespace=namespace, value=1) for namespace in namespaces]
        return await self._report(points)

    @property
    def limiter(self) -> Limiter:
        return self._dispatcher.limiter

    @property
    def calls(self) -> list[list[str]]:
        """The metrics of each call that the upstream got."""
        return [json.loads(raw.partition(b"\r\n\r\n")[2]) for raw in self.upstream.received]


@asynccontextmanager
async def acme(
    behaviour: Behaviour, *, limits: str = "", coalesce: bool = True, timeout_s: float = 5
) -> AsyncIterator[Acme]:
    client = Client()
    dispatcher = Dispatcher(CallSender(client, Telemetry()))
    async with Upstream(behaviour) as upstream:
        route = stand_in(ACME.replace("LIMITS", limits))
        target = replace(
            route.target, url=replace(route.target.url, host=upstream.host), coalesce=coalesce, timeout_s=timeout_s
        )
        try:
            yield Acme(replace(route, target=target), upstream, dispatcher)
        finally:
            await dispatcher.close(0)
            await client.close()


TAKES = answers(200)


def once(go: asyncio.Event, then: Behaviour = TAKES) -> Behaviour:
    """Answer when told to go."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        await then(reader, writer)

    return behave


def refusing(upstream: Sequence[Upstream], *poison: str) -> Behaviour:
    """Refuse a call, without a word on why, that holds any of these metrics."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        metrics = json.loads(upstream[0].received[-1].partition(b"\r\n\r\n")[2])
        bad = [metric for metric in metrics if metric in poison]
        await answers(400 if bad else 200, b"bad metric" if bad else b"")(reader, writer)

    return behave


async def until_calls(here: Acme, number: int) -> None:
    async with asyncio.timeout(5):
        while len(here.upstream.received) < number:
            await asyncio.sleep(0.005)
