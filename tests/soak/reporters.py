"""Reporters that send numbered data points over persistent connections, and record the replies."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count, islice

from tests.support.caller import Caller, Reply, call
from tests.support.gateway import raw_report

PAUSE_S = 0.01


def report_of(numbers: Sequence[int]) -> bytes:
    data = [{"metricName": "number", "value": number, "labels": {"n": str(number)}} for number in numbers]
    return raw_report(json.dumps({"params": {"namespace": "numbers", "data": data}}))


class Reporters:
    """Each number is sent once. The result of reports on a broken connection is unknown: `unanswered`."""

    def __init__(self, address: str | None = None) -> None:
        self.address = address
        self.acknowledged: set[int] = set()
        self.rejected: set[int] = set()
        self.unanswered: set[int] = set()
        self.reports: list[Sequence[int]] = []
        self._numbers = count()
        self.last: Reply | None = None
        self._ending = False

    @asynccontextmanager
    async def reporting(self, connections: int) -> AsyncIterator[None]:
        """Report to the current `address` inside the block; at its end no report is under way."""
        async with asyncio.TaskGroup() as tasks:
            for size in range(connections):
                tasks.create_task(self._report(1 + size % 4))
            try:
                yield
            finally:
                self._ending = True

    async def report_each(self, numbers: Iterable[int], *, connections: int = 1) -> None:
        """Send one report per number, in order on each connection."""
        assert self.address is not None
        left = iter(numbers)

        async def report(address: str) -> None:
            async with call(address) as caller:
                for number in left:
                    await self._send(caller, [number])

        async with asyncio.TaskGroup() as tasks:
            for _ in range(connections):
                tasks.create_task(report(self.address))

    async def _report(self, points: int) -> None:
        while not self._ending:
            await asyncio.sleep(PAUSE_S)
            if self.address is not None:
                with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                    await self._keep_reporting(self.address, points)

    async def _keep_reporting(self, address: str, points: int) -> None:
        async with call(address) as caller:
            while address == self.address and not self._ending:
                await self._send(caller, list(islice(self._numbers, points)))
                await asyncio.sleep(PAUSE_S)

    async def _send(self, caller: Caller, numbers: Sequence[int]) -> None:
        self.reports.append(numbers)
        self.unanswered.update(numbers)
        caller.send(report_of(numbers))
        reply = await caller.parsed()
        (self.acknowledged if reply.status == 200 else self.rejected).update(numbers)
        self.unanswered.difference_update(numbers)
        self.last = reply
