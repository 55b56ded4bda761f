"""Delivers one call: log in, declare, sign, send, poll, classify, mask.

Grouping, batching and retries happen before and after this module: see `dispatch.py` and `queue/worker.py`.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from gateway.core.http.request import Secret
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.classify import Classified, classify
from gateway.core.outcome.errors import GatewayError, UpstreamError
from gateway.core.outcome.masking import mask_outcome
from gateway.core.outcome.outcome import Code, Outcome, Reason
from gateway.core.outcome.rejections import map_rejections
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.sign import Signed, secrets_written
from gateway.core.record import record
from gateway.core.sending.declare import DeclaringCall, declaration_keys
from gateway.core.sending.encode import Call
from gateway.core.sending.sign import carries_session, poll_recipe, poll_request, sign_call
from gateway.core.vendor.provider import OutcomeRule
from gateway.core.vendor.route import Target
from gateway.delivery.client import Sender
from gateway.delivery.declarations import Declarations
from gateway.delivery.sessions import Sessions
from gateway.delivery.transport import CallObserver, Deadline, Purpose, Transport, fresh
from gateway.telemetry import Telemetry

# Codes by which an upstream may mean "unknown metric". They also stand for invalid data.
MAYBE_UNDECLARED = frozenset({Code.INVALID_ARGUMENT, Code.NOT_FOUND})
# A poll changes nothing, so it is repeated if it may not have arrived.
POLLED_AGAIN = frozenset({Reason.UPSTREAM_DOWN, Reason.UPSTREAM_TIMEOUT})


@record
class _Delivery:
    """The constants of one call's delivery. `tokens` and `signed` collect the secrets to mask."""

    target: Target
    request_id: str
    deadline: Deadline
    tokens: list[Secret] = field(default_factory=list)
    signed: list[Signed] = field(default_factory=list)

    def masked(self, outcome: Outcome) -> Outcome:
        """Mask our secrets in the upstream's text, before it is logged, stored or returned."""
        if not outcome.message and not outcome.rejected:
            return outcome
        credential = self.target.credential
        secrets = [*self.target.secrets, *self.tokens, *([credential.secret] if credential else [])]
        return mask_outcome(outcome, [*secrets, *(text for signed in self.signed for text in secrets_written(signed))])


class CallSender:
    """Delivers calls. Sessions and declarations are shared by all calls and survive reloads."""

    def __init__(self, sender: Sender, telemetry: Telemetry, observer: CallObserver | None = None) -> None:
        self._transport = Transport(sender, observer)
        self.sessions = Sessions(self._transport)
        self._declarations = Declarations()
        self._telemetry = telemetry

    async def deliver_call(
        self, route: str, target: Target, call: Call, request_id: str, deadline: Deadline
    ) -> Outcome:
        """Deliver a call and return its outcome in the upstream's terms, secrets masked."""
        started = time.monotonic()
        delivery = _Delivery(target, request_id, deadline)
        try:
            for is_last in (False, True):
                declared = {} if target.send.declare is None else await self._declare(delivery, call)
                rules = target.send.outcome
                names = {"call_id": call.call_id, "given": target.given}
                classified = await self._exchange(delivery, "call", call.request, target.recipe, rules, names)
                if classified.poll is not None:
                    classified = await self._poll(delivery, classified, rules, names)
                outcome = map_rejections(call, classified)
                if is_last or not declared or outcome.code not in MAYBE_UNDECLARED:
                    break
                self._declarations.forget(target, declared)
                if outcome.rejected:  # the accepted points would arrive twice
                    break
        except GatewayError as error:
            outcome = error.outcome
        self._telemetry.series("gateway_upstream_seconds", route, outcome.code).observe(time.monotonic() - started)
        return delivery.masked(outcome) if outcome.message or outcome.rejected else outcome

    async def _declare(self, delivery: _Delivery, call: Call) -> Mapping[bytes, int]:
        """Declare what the call needs; return the earlier declarations that it relies on."""
        target, declare = delivery.target, delivery.target.send.declare
        assert declare is not None
        rules = declare.outcome

        async def send(declaring: DeclaringCall) -> Outcome:
            names = {"call_id": declaring.call_id, "given": target.given}
            result = await self._exchange(delivery, "declare", declaring.request, target.recipe, rules, names)
            if result.poll is not None:
                result = await self._poll(delivery, result, rules, names)
            return delivery.masked(result.outcome)  # it is also the outcome of other calls, which have other secrets

        needed = declaration_keys(target, call.items)
        return await self._declarations.declare(target, needed, send, delivery.deadline)

    async def _poll(
        self, delivery: _Delivery, result: Classified, rules: Sequence[OutcomeRule], names: Mapping[str, Any]
    ) -> Classified:
        """Poll until the answer is final or the deadline is too close for another poll."""
        target, poll = delivery.target, delivery.target.send.poll
        while (path := result.poll) is not None:
            if poll is None or delivery.deadline.comes_within(poll.every_s):
                return replace(result, poll=None)
            await asyncio.sleep(poll.every_s)
            polling, recipe = poll_request(target, path), poll_recipe(target)
            try:
                result = await self._exchange(delivery, "poll", polling, recipe, rules, names, path)
            except UpstreamError as error:
                if error.outcome.reason not in POLLED_AGAIN:
                    raise
        return result

    async def _exchange(
        self,
        delivery: _Delivery,
        purpose: Purpose,
        request: UnsignedRequest,
        recipe: Recipe | None,
        rules: Sequence[OutcomeRule],
        names: Mapping[str, Any],
        polled: str | None = None,
    ) -> Classified:
        """Log in if necessary, sign, send and classify. If the session has ended, log in and send once more."""
        target, deadline = delivery.target, delivery.deadline
        request = request.with_header("X-Request-Id", delivery.request_id)
        login = target.login if carries_session(target, recipe) else None
        renewed = False
        while True:
            token = None if login is None else await self.sessions.token_for(target, login, deadline)
            signed = sign_call(target, recipe, request, fresh(), token)
            delivery.signed.append(signed)
            if token is not None:
                delivery.tokens.append(token)
            answer = await self._transport.send(purpose, target, signed, deadline)
            result = classify(rules, answer, names, polled)
            if login is None or token is None or renewed or result.outcome.code is not Code.UNAUTHENTICATED:
                return result
            self.sessions.drop(target, login, token)
            renewed = True
