"""Delivers a report while its reporter waits: what the upstream says is what the reporter is told."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from uuid import uuid4

from gateway.core.accept import Accepted
from gateway.core.encode import Call, encode
from gateway.core.fold import fold
from gateway.core.outcome import Outcome
from gateway.core.route import Route
from gateway.delivery.courier import signed_size
from gateway.delivery.deadline import Deadline
from gateway.delivery.exchange import Exchange


class Direct:
    """Encodes and sends. Calls of one group go one after the other, groups side by side."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def deliver(self, route: Route, accepted: Accepted, request_id: str) -> Outcome:
        """Return what became of a report. Raises SpecError where the provider's expressions fail."""
        target = route.target
        deadline = Deadline.after(target.timeout_s)
        encoded = encode(
            target,
            accepted.items,
            now_ns=time.time_ns(),
            new_call_id=lambda: uuid4().hex,
            size_of=partial(signed_size, target),
        )
        groups: dict[int, list[Call]] = {}
        for call in encoded.calls:
            groups.setdefault(call.group, []).append(call)
        if len(groups) == 1:
            results = await self._one_after_the_other(route, encoded.calls, request_id, deadline)
        else:
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(self._one_after_the_other(route, calls, request_id, deadline))
                    for calls in groups.values()
                ]
            results = [result for task in running for result in task.result()]
        return fold(accepted, results, encoded.rejected)

    async def _one_after_the_other(
        self, route: Route, calls: Sequence[Call], request_id: str, deadline: Deadline
    ) -> list[tuple[Call, Outcome]]:
        return [(call, await self._exchange.run(route, call, request_id, deadline)) for call in calls]
