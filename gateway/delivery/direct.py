"""Delivers a report while its reporter waits: what the upstream says is what the reporter is told."""

import asyncio
import os
import time
from collections.abc import Sequence
from uuid import uuid4

from gateway.core.accept import Accepted
from gateway.core.blame import blame
from gateway.core.draft import Draft
from gateway.core.encode import Call, encode
from gateway.core.errors import GatewayError, UpstreamError
from gateway.core.fold import fold, mask
from gateway.core.judge import judge
from gateway.core.model import Secret
from gateway.core.outcome import Code, Outcome, Reason
from gateway.core.recipe.sign import Fresh, Signed
from gateway.core.route import Route, Target
from gateway.core.signing import sign_call
from gateway.delivery.client import Sender, Timeouts
from gateway.delivery.sessions import Sessions
from gateway.telemetry import Telemetry


class Direct:
    """Encodes, signs and sends. Calls of one group go one after the other, groups side by side."""

    def __init__(self, sender: Sender, telemetry: Telemetry) -> None:
        self._sender = sender
        self._sessions = Sessions(sender)
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
            size_of=lambda draft: len(_sign_now(target, draft, None).request.body),
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
            outcome = await self._exchange(route.target, call, request_id, end)
        except GatewayError as error:
            outcome = error.outcome
        self._telemetry.upstream(route.name, outcome, time.monotonic() - started)
        return outcome

    async def _exchange(self, target: Target, call: Call, request_id: str, end: float) -> Outcome:
        """Send one call; where the session that it carried had ended, log in anew and send it once more."""
        if target.login is None:
            return await self._send_once(target, call, request_id, end, None)
        token = await self._sessions.token_for(target, target.login, self._left_s(target, end))
        outcome = await self._send_once(target, call, request_id, end, token)
        if outcome.code is Code.UNAUTHENTICATED:
            self._sessions.drop(target, target.login, token)
            token = await self._sessions.token_for(target, target.login, self._left_s(target, end))
            outcome = await self._send_once(target, call, request_id, end, token)
        return mask(outcome, [token])

    async def _send_once(
        self, target: Target, call: Call, request_id: str, end: float, session: Secret | None
    ) -> Outcome:
        timeouts = Timeouts(connect_s=target.connect_timeout_s, total_s=self._left_s(target, end))
        signed = _sign_now(target, call.draft.with_header("X-Request-Id", request_id), session)
        answer = await self._sender.send(signed.request, timeouts=timeouts, tls=target.tls)
        return blame(call, judge(target.send, answer, {"call_id": call.call_id, "given": target.given}))

    def _left_s(self, target: Target, end: float) -> float:
        left_s = end - time.monotonic()
        if left_s <= 0:
            what = f"no time was left of the {target.timeout_s:g} s of this route"
            raise UpstreamError.of(Reason.UPSTREAM_TIMEOUT, what)
        return left_s


def _sign_now(target: Target, draft: Draft, session: Secret | None) -> Signed:
    return sign_call(target, draft, Fresh(time.time_ns(), os.urandom(16)), session)
