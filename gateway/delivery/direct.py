"""Delivers a report while its reporter waits: what the upstream says is what the reporter is told."""

import asyncio
import time

from gateway.core.outcome.combine import Result, combine_outcomes
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Outcome, Reason, failure
from gateway.core.pipeline import AcceptedReport
from gateway.core.sending.encode import group_items_steps
from gateway.core.vendor.route import Target
from gateway.delivery.deadline import Deadline
from gateway.delivery.dispatch import Dispatcher, Parcel
from gateway.turns import Turns

# Each is a call of its own.
MAX_GROUPS = 1000
# A call that ends with its deadline has better words for it than we have.
GRACE_S = 0.05


class Direct:
    """Sends the groups of a report side by side, and waits for them until the deadline of its route."""

    def __init__(self, dispatcher: Dispatcher, turns: Turns | None = None) -> None:
        self._dispatcher = dispatcher
        self._turns = turns or Turns()

    async def deliver(self, route: str, target: Target, accepted: AcceptedReport, request_id: str) -> Outcome:
        """Return what became of a report.

        Raises SpecError where the provider's expressions fail, and CallerError where it would take too many calls.
        """
        deadline = Deadline.after(target.timeout_s)
        groups = await self._turns.take(group_items_steps(target, accepted.items, now_ns=time.time_ns()))
        if len(groups) > MAX_GROUPS:
            what = f"its data points would take {len(groups)} calls to the upstream; at most {MAX_GROUPS} are made"
            raise CallerError.of(Reason.TOO_LARGE, what)
        parcels = [Parcel(each, request_id, deadline, sender=accepted.sender) for each in groups]
        self._dispatcher.send(route, target, parcels)
        late = failure(Reason.UPSTREAM_TIMEOUT, f"no answer within {target.timeout_s:g} s")
        return combine_outcomes(
            accepted, [result for parcel in parcels for result in await _results(parcel, deadline, late)]
        )


async def _results(parcel: Parcel, deadline: Deadline, late: Outcome) -> list[Result]:
    """Return what became of a parcel by its deadline; its delivery goes on after that, and for whoever hangs up."""
    try:
        async with asyncio.timeout(max(0, deadline.end + GRACE_S - time.monotonic())):
            await parcel.settled.wait()
    except TimeoutError:
        return [*parcel.results, (parcel.left, late)]
    return parcel.results
