"""Takes a report over: its reporter is told of success once its data points are on disk. Workers deliver them."""

import time
from collections.abc import Callable

from gateway.core.outcome.combine import combine_outcomes
from gateway.core.outcome.outcome import Outcome
from gateway.core.pipeline import plan_calls_steps
from gateway.core.points.report import AcceptedReport
from gateway.core.vendor.route import Target
from gateway.delivery.queue import Destination, NewPoint, Store
from gateway.delivery.transport import encode_context
from gateway.offload import Offloader


class Queued:
    """Stores data points for a target; `wake` is called with each destination that has something new."""

    def __init__(self, store: Store, wake: Callable[[Destination], None], offloader: Offloader | None = None) -> None:
        self._store = store
        self._offloader = offloader or Offloader()
        self._wake = wake

    async def deliver(self, route: str, target: Target, accepted: AcceptedReport, request_id: str) -> Outcome:
        """Return what the reporter is told. Raises GatewayError where the points cannot be kept, or built."""
        now_ns = time.time_ns()
        destination = Destination(route, target.name)
        # Built once as a check: what could never be sent is refused while somebody waits to hear it.
        encoded = await self._offloader.run(plan_calls_steps(target, accepted.items, encode_context(target)))
        refused = encoded.rejected
        too_large = {each.index for each in refused}
        await self._store.append(
            [
                NewPoint(
                    destination=destination,
                    report_id=request_id,
                    index=item.index,
                    received_ns=now_ns,
                    point=item.point,
                )
                for item in accepted.items
                if item.index not in too_large
            ]
        )
        self._wake(destination)
        return combine_outcomes(accepted, [], refused)
