"""One call's whole conversation with its upstream: log in, sign, send, judge, mask, count. The one place for all of it.

Which calls there are, and what becomes of the report, is not decided here.
"""

import time
from dataclasses import dataclass, replace

from gateway.core.blame import blame
from gateway.core.encode import Call
from gateway.core.errors import GatewayError
from gateway.core.fold import mask
from gateway.core.judge import Judged, judge
from gateway.core.model import Secret
from gateway.core.outcome import Code, Outcome
from gateway.core.route import Route, Target
from gateway.core.signing import sign_call
from gateway.delivery.client import Sender
from gateway.delivery.courier import Courier, Watcher, fresh
from gateway.delivery.deadline import Deadline
from gateway.delivery.sessions import Sessions
from gateway.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class _Errand:
    """What stays the same through a conversation."""

    target: Target
    call: Call
    request_id: str
    deadline: Deadline


class Exchange:
    """Holds conversations with upstreams, and what they share: sessions. Lives across reloads."""

    def __init__(self, sender: Sender, telemetry: Telemetry, watcher: Watcher | None = None) -> None:
        self._courier = Courier(sender, watcher)
        self._sessions = Sessions(self._courier)
        self._telemetry = telemetry

    async def run(self, route: Route, call: Call, request_id: str, deadline: Deadline) -> Outcome:
        """Return what became of a call, in the upstream's own terms."""
        started = time.monotonic()
        try:
            outcome = await self._converse(_Errand(route.target, call, request_id, deadline))
        except GatewayError as error:
            outcome = error.outcome
        self._telemetry.upstream(route.name, outcome, time.monotonic() - started)
        return outcome

    async def _converse(self, errand: _Errand) -> Outcome:
        return blame(errand.call, await self._ask(errand))

    async def _ask(self, errand: _Errand) -> Judged:
        """Send a call and judge its answer; where the session that it carried had ended, log in anew and repeat it."""
        target, login = errand.target, errand.target.login
        if login is None:
            return await self._ask_once(errand, None)
        token = await self._sessions.token_for(target, login, errand.deadline)
        judged = await self._ask_once(errand, token)
        if judged.outcome.code is Code.UNAUTHENTICATED:
            self._sessions.drop(target, login, token)
            token = await self._sessions.token_for(target, login, errand.deadline)
            judged = await self._ask_once(errand, token)
        return replace(judged, outcome=mask(judged.outcome, [token]))

    async def _ask_once(self, errand: _Errand, session: Secret | None) -> Judged:
        target, call = errand.target, errand.call
        signed = sign_call(target, call.draft.with_header("X-Request-Id", errand.request_id), fresh(), session)
        answer = await self._courier.send("call", target, signed, errand.deadline)
        return judge(target.send, answer, {"call_id": call.call_id, "given": target.given})
