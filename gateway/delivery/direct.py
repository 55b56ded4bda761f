"""Direct mode: delivers a report while its reporter waits for the upstream's answer."""

import time

from gateway.core.context import AcceptedReport
from gateway.core.outcome.combine import Result, combine_outcomes
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Outcome, Reason, failure
from gateway.core.sending.encode import group_items
from gateway.core.vendor.route import Target
from gateway.delivery.dispatch import Dispatcher, Parcel
from gateway.delivery.transport import Deadline

# Each group is a call.
MAX_GROUPS = 1000
# A call that ends at its deadline has a more precise message than ours.
GRACE_S = 0.05
# A group of more items may need several calls, or more time to encode than its deadline leaves.
FEW_ITEMS = 100


class Direct:
    """Sends the groups of a report concurrently and waits for them until the route's deadline."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    async def deliver(self, route: str, target: Target, accepted: AcceptedReport, request_id: str) -> Outcome:
        """Return the outcome of a report. After the deadline, or if the reporter disconnects, delivery continues.

        Raises SpecError if the provider's expressions fail, and CallerError if the report needs too many calls.
        """
        deadline, dispatcher = Deadline.after(target.timeout_s), self._dispatcher
        groups = await dispatcher.offloader.run(group_items(target, accepted.items, now_ns=time.time_ns()))
        if len(groups) > MAX_GROUPS:
            what = f"the report needs {len(groups)} calls to the upstream; the limit is {MAX_GROUPS}"
            raise CallerError.of(Reason.TOO_LARGE, what)
        sender = (accepted.caller.recipe, accepted.caller.key, accepted.peer)
        parcels = [Parcel(group, request_id, deadline, sender=sender) for group in groups]
        if len(parcels) == 1 and len(accepted.items) <= FEW_ITEMS:
            await dispatcher.send_directly(route, target, parcels[0])
        else:
            dispatcher.send(route, target, parcels)
        results: list[Result] = []
        for parcel in parcels:
            if not await parcel.wait(deadline.end + GRACE_S - time.monotonic()):
                late = failure(Reason.UPSTREAM_TIMEOUT, f"no answer within {target.timeout_s:g} s")
                results.append((parcel.left, late))
            results += parcel.results
        return combine_outcomes(accepted, results)
