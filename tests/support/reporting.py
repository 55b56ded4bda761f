"""Direct delivery between a provider of the test's own and a fake upstream, over real sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from gateway.core.context import AcceptedReport
from gateway.core.outcome.outcome import Outcome
from gateway.core.pipeline import ANONYMOUS
from gateway.core.points.decode import Item
from gateway.core.points.point import DataPoint
from gateway.core.vendor.route import Route
from gateway.delivery.call import CallSender
from gateway.delivery.client import Client
from gateway.delivery.dispatch import Dispatcher
from gateway.telemetry import Telemetry
from tests.support.specs import stand_in
from tests.support.upstream import Behaviour, Upstream


class Reporting:
    """Reports data points to an upstream, by direct delivery."""

    def __init__(self, route: Route, upstream: Upstream, client: Client) -> None:
        self.upstream = upstream
        self._route = replace(route, target=replace(route.target, url=replace(route.target.url, host=upstream.host)))
        self._dispatcher = Dispatcher(CallSender(client, Telemetry()))

    async def report(self, *metrics: str, timeout_s: float = 2, **target: Any) -> Outcome:
        """Report a data point of each metric; `target` changes fields of the target."""
        items = [Item(index, None, DataPoint(metric, 1, value=1)) for index, metric in enumerate(metrics or ("cpu",))]
        route = replace(self._route, target=replace(self._route.target, timeout_s=timeout_s, **target))
        return await self._dispatcher.deliver(
            "acme", route.target, AcceptedReport(ANONYMOUS, tuple(items)), "request-1"
        )

    @property
    def asked(self) -> list[str]:
        """Method and target of each request that the upstream got."""
        return [raw.partition(b" HTTP/")[0].decode() for raw in self.upstream.received]


@asynccontextmanager
async def reporting(provider: str, behaviour: Behaviour) -> AsyncIterator[Reporting]:
    """Report by a provider's YAML to an upstream of that behaviour."""
    async with Upstream(behaviour) as upstream:
        client = Client()
        try:
            yield Reporting(stand_in(provider), upstream, client)
        finally:
            await client.close()
