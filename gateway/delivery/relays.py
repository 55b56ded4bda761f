"""Sends calls that are no reports, one for each request, and gives their answers from the head on."""

import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from gateway.core.http.request import Secret
from gateway.core.outcome.errors import GatewayError
from gateway.core.outcome.outcome import Code, Outcome
from gateway.core.sending.sign import sign_call
from gateway.core.vendor.relay import RelayedRequest, outcome_of_relayed
from gateway.core.vendor.route import Route, Target
from gateway.delivery.client import Answer, Client, Timeouts
from gateway.delivery.courier import fresh
from gateway.delivery.deadline import Deadline
from gateway.delivery.sessions import Sessions
from gateway.telemetry import Telemetry


class Relays:
    """Signs and sends; whatever the upstream answers is an answer."""

    def __init__(self, client: Client, sessions: Sessions, telemetry: Telemetry) -> None:
        self._client = client
        self._sessions = sessions
        self._telemetry = telemetry

    @asynccontextmanager
    async def pass_on(self, route: Route, relayed: RelayedRequest, request_id: str) -> AsyncIterator[Answer]:
        """Send a call and give its answer. Raises UpstreamError where there is none, SpecError where it is no call."""
        started = time.monotonic()
        outcome = Outcome(Code.INTERNAL)
        try:
            async with self._answered(route.target, relayed, request_id) as answer:
                outcome = outcome_of_relayed(route.target, answer.status, answer.headers)
                yield answer
        except GatewayError as error:
            outcome = error.outcome
            raise
        finally:
            self._telemetry.upstream(route.name, outcome, time.monotonic() - started)

    @asynccontextmanager
    async def _answered(self, target: Target, relayed: RelayedRequest, request_id: str) -> AsyncIterator[Answer]:
        """Send the call; where the session that it carried had ended, log in anew and send it once more."""
        deadline = Deadline.after(target.timeout_s)
        async with AsyncExitStack() as exchanges:
            token = await self._token(target, deadline)
            answer = await exchanges.enter_async_context(self._sent(target, relayed, request_id, deadline, token))
            if target.login is not None and token is not None and answer.status == 401:
                await exchanges.aclose()
                self._sessions.drop(target, target.login, token)
                token = await self._token(target, deadline)
                answer = await exchanges.enter_async_context(self._sent(target, relayed, request_id, deadline, token))
            yield answer

    async def _token(self, target: Target, deadline: Deadline) -> Secret | None:
        if target.login is None:
            return None
        return await self._sessions.token_for(target, target.login, deadline)

    def _sent(
        self, target: Target, relayed: RelayedRequest, request_id: str, deadline: Deadline, session: Secret | None
    ) -> AbstractAsyncContextManager[Answer]:
        draft = relayed.request.with_header("X-Request-Id", request_id)
        signed = sign_call(target, draft, fresh(), session)
        timeouts = Timeouts(connect_s=target.connect_timeout_s, total_s=deadline.left_s(), more_s=target.timeout_s)
        return self._client.stream(signed.request, timeouts=timeouts, tls=target.tls)
