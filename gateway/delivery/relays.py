"""Passes on calls without data points: one upstream request per received request, its answer streamed back."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.core.outcome.errors import GatewayError
from gateway.core.outcome.outcome import Code, Outcome
from gateway.core.sending.sign import sign_call
from gateway.core.vendor.relay import RelayedRequest, outcome_of_relayed
from gateway.core.vendor.route import Route, Target
from gateway.delivery.client import Client, Timeouts
from gateway.delivery.connection import Connection
from gateway.delivery.sessions import Sessions
from gateway.delivery.transport import Deadline, fresh
from gateway.telemetry import Telemetry
from gateway.tls import target_context


class Relays:
    """Signs and sends relayed requests. Any answer of the upstream counts as an answer."""

    def __init__(self, client: Client, sessions: Sessions, telemetry: Telemetry) -> None:
        self._client = client
        self._sessions = sessions
        self._telemetry = telemetry

    @asynccontextmanager
    async def pass_on(self, route: Route, relayed: RelayedRequest, request_id: str) -> AsyncIterator[Connection]:
        """Send a request and yield its answer. Raises UpstreamError without an answer, SpecError on a bad request."""
        started = time.monotonic()
        outcome = Outcome(Code.INTERNAL)
        try:
            async with self._answer(route.target, relayed, request_id) as answer:
                outcome = outcome_of_relayed(route.target, answer.status, answer.headers)
                yield answer
        except GatewayError as error:
            outcome = error.outcome
            raise
        finally:
            series = self._telemetry.series("gateway_upstream_seconds", route.name, outcome.code)
            series.observe(time.monotonic() - started)

    @asynccontextmanager
    async def _answer(self, target: Target, relayed: RelayedRequest, request_id: str) -> AsyncIterator[Connection]:
        """Log in if necessary, sign and send. If the session has ended, log in and send once more."""
        deadline = Deadline.after(target.timeout_s)
        request = relayed.request.with_header("X-Request-Id", request_id)
        login, renewed = target.login, False
        while True:
            token = None if login is None else await self._sessions.token_for(target, login, deadline)
            signed = sign_call(target, target.recipe, request, fresh(), token)
            timeouts = Timeouts(connect_s=target.connect_timeout_s, total_s=deadline.left_s(), more_s=target.timeout_s)
            async with self._client.stream(signed.request, timeouts=timeouts, tls=target_context(target.tls)) as answer:
                if login is None or token is None or answer.status != 401 or renewed:
                    yield answer
                    return
            self._sessions.drop(target, login, token)
            renewed = True
