"""Delivers a report while its reporter waits: what the upstream says is what the reporter is told."""

import asyncio
import os
import time
from collections.abc import Sequence
from typing import Protocol
from uuid import uuid4

from gateway.core.accept import Accepted
from gateway.core.draft import Draft
from gateway.core.encode import Call, encode
from gateway.core.errors import GatewayError
from gateway.core.fold import fold
from gateway.core.judge import judge
from gateway.core.model import Request, Response
from gateway.core.outcome import Outcome, Reason, failure
from gateway.core.recipe.sign import Fresh, Signed
from gateway.core.route import Route, Target
from gateway.core.signing import sign_call
from gateway.delivery.client import Timeouts
from gateway.telemetry import Telemetry


class Sender(Protocol):
    """Whatever sends one request and returns its answer; see `Client.send` for what it raises."""

    async def send(self, request: Request, *, timeouts: Timeouts) -> Response: ...


class Direct:
    """Encodes, signs and sends. Calls of one group go one after the other, groups side by side."""

    def __init__(self, sender: Sender, telemetry: Telemetry) -> None:
        self._sender = sender
        self._telemetry = telemetry

    async def deliver(self, route: Route, accepted: Accepted, request_id: str) -> Outcome:
        """Return what became of a report. Raises SpecError where the provider's expressions fail."""
        target = route.target
        end = time.monotonic() + target.timeout_s
        encoded = encode(
            target,
            accepted.items,
            now_ns=time.time_ns(),
            new_call_id=lambda: uuid4().hex,
            size_of=lambda draft: len(_sign_now(target, draft).request.body),
        )
        groups: dict[int, list[Call]] = {}
        for call in encoded.calls:
            groups.setdefault(call.group, []).append(call)
        if len(groups) == 1:
            results = await self._one_after_the_other(route, encoded.calls, request_id, end)
        else:
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(self._one_after_the_other(route, calls, request_id, end))
                    for calls in groups.values()
                ]
            results = [result for task in running for result in task.result()]
        return fold(accepted, results, encoded.rejected)

    async def _one_after_the_other(
        self, route: Route, calls: Sequence[Call], request_id: str, end: float
    ) -> list[tuple[Call, Outcome]]:
        return [(call, await self._send(route, call, request_id, end)) for call in calls]

    async def _send(self, route: Route, call: Call, request_id: str, end: float) -> Outcome:
        started = time.monotonic()
        try:
            outcome = await self._exchange(route.target, call, request_id, end - started)
        except GatewayError as error:
            outcome = error.outcome
        self._telemetry.upstream(route.name, outcome, time.monotonic() - started)
        return outcome

    async def _exchange(self, target: Target, call: Call, request_id: str, left_s: float) -> Outcome:
        if left_s <= 0:
            return failure(Reason.UPSTREAM_TIMEOUT, f"no time was left of the {target.timeout_s:g} s of this route")
        signed = _sign_now(target, call.draft.with_header("X-Request-Id", request_id))
        timeouts = Timeouts(connect_s=target.connect_timeout_s, total_s=left_s)
        answer = await self._sender.send(signed.request, timeouts=timeouts)
        return judge(target.send, answer, {"call_id": call.call_id, "given": target.given}).outcome


def _sign_now(target: Target, draft: Draft) -> Signed:
    return sign_call(target, draft, Fresh(time.time_ns(), os.urandom(16)))
