"""One call's whole conversation with its upstream: log in, declare, sign, send, poll, judge, mask, count.

Which calls there are, and what becomes of the report, is not decided here.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from gateway.core.http.request import Response, Secret
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.classify import Classified, classify
from gateway.core.outcome.errors import GatewayError, UpstreamError
from gateway.core.outcome.masking import mask_outcome
from gateway.core.outcome.outcome import Code, Outcome, Reason
from gateway.core.outcome.rejections import map_rejections
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.sign import Signed, secrets_written
from gateway.core.sending.declare import DeclaringCall, declaration_keys
from gateway.core.sending.encode import Call
from gateway.core.sending.poll import poll_recipe, poll_request
from gateway.core.sending.sign import carries_session, sign_by
from gateway.core.vendor.provider import OutcomeRule
from gateway.core.vendor.route import Target
from gateway.delivery.client import Sender
from gateway.delivery.courier import Courier, Watcher, What, fresh
from gateway.delivery.deadline import Deadline
from gateway.delivery.declarations import Declarations
from gateway.delivery.sessions import Sessions
from gateway.telemetry import Telemetry

# So answers who does not know any more what was declared, and who was sent what is wrong.
FORGOTTEN = frozenset({Code.INVALID_ARGUMENT, Code.NOT_FOUND})
# A question after a call changes nothing: it is asked again where it may not have arrived.
ASKED_AGAIN = frozenset({Reason.UPSTREAM_DOWN, Reason.UPSTREAM_TIMEOUT})


@dataclass(frozen=True, slots=True)
class _Errand:
    """What stays the same through a conversation. `sessions` and `signed` collect what it used, to be masked."""

    target: Target
    request_id: str
    deadline: Deadline
    sessions: list[Secret] = field(default_factory=list)
    signed: list[Signed] = field(default_factory=list)

    def masked(self, outcome: Outcome) -> Outcome:
        """Mask our secrets in the upstream's text, before it is logged, stored or returned."""
        if not outcome.message and not outcome.rejected:
            return outcome
        credential = self.target.credential
        secrets = [*self.target.secrets, *self.sessions, *([credential.secret] if credential else [])]
        return mask_outcome(outcome, [*secrets, *(text for signed in self.signed for text in secrets_written(signed))])


@dataclass(frozen=True, slots=True)
class _Question:
    """One call of a conversation, not yet signed, and how its answer is judged."""

    what: What
    request: UnsignedRequest
    recipe: Recipe | None
    judge: Callable[[Response], Classified]


class Exchange:
    """Holds conversations with upstreams, and what they share: `sessions`, declarations. Lives across reloads."""

    def __init__(self, sender: Sender, telemetry: Telemetry, watcher: Watcher | None = None) -> None:
        self._courier = Courier(sender, watcher)
        self.sessions = Sessions(self._courier)
        self._declarations = Declarations()
        self._telemetry = telemetry

    async def run(self, route: str, target: Target, call: Call, request_id: str, deadline: Deadline) -> Outcome:
        """Return what became of a call, in the upstream's own terms."""
        started = time.monotonic()
        errand = _Errand(target, request_id, deadline)
        try:
            outcome = await self._report(errand, call)
        except GatewayError as error:
            outcome = error.outcome
        self._telemetry.upstream(route, outcome, time.monotonic() - started)
        return errand.masked(outcome)

    async def _report(self, errand: _Errand, call: Call) -> Outcome:
        """Declare what the call needs, and send it; both once more where it is refused: B may have forgotten.

        What was declared just now, B cannot have forgotten.
        """
        declared = await self._declare(errand, call)
        outcome = await self._send(errand, call)
        if outcome.code not in FORGOTTEN or not declared:
            return outcome
        self._declarations.forget(errand.target, declared)
        if outcome.rejected:
            return outcome  # the other points were taken, and would be taken twice
        await self._declare(errand, call)
        return await self._send(errand, call)

    async def _declare(self, errand: _Errand, call: Call) -> Mapping[bytes, int]:
        declare = errand.target.send.declare
        if declare is None:
            return {}
        rules = declare.outcome

        async def send(declaring: DeclaringCall) -> Outcome:
            judged = await self._settle(errand, "declare", declaring.call_id, declaring.request, rules)
            # Others who wait for it are told the same, and know nothing of this session.
            return errand.masked(judged.outcome)

        needed = declaration_keys(errand.target, call.items)
        return await self._declarations.declare(errand.target, needed, send, errand.deadline)

    async def _send(self, errand: _Errand, call: Call) -> Outcome:
        rules = errand.target.send.outcome
        return map_rejections(call, await self._settle(errand, "call", call.call_id, call.request, rules))

    async def _settle(
        self, errand: _Errand, what: What, call_id: str, draft: UnsignedRequest, rules: Sequence[OutcomeRule]
    ) -> Classified:
        """Send a call, and ask after it until an answer is the last word."""
        verdict = partial(classify, rules, names={"call_id": call_id, "given": errand.target.given})
        judged = await self._ask(errand, _Question(what, draft, errand.target.recipe, verdict))
        while judged.poll is not None:
            judged = await self._poll(errand, verdict, judged)
        return judged

    async def _poll(self, errand: _Errand, verdict: partial[Classified], judged: Classified) -> Classified:
        """Ask once more after a pause; where the deadline would pass meanwhile, the outcome so far stands."""
        target, path = errand.target, judged.poll
        if path is None or target.send.poll is None or errand.deadline.comes_within(target.send.poll.every_s):
            return replace(judged, poll=None)
        await asyncio.sleep(target.send.poll.every_s)
        question = _Question("poll", poll_request(target, path), poll_recipe(target), partial(verdict, polled=path))
        try:
            return await self._ask(errand, question)
        except UpstreamError as error:
            if error.outcome.reason not in ASKED_AGAIN:
                raise
            return judged

    async def _ask(self, errand: _Errand, question: _Question) -> Classified:
        """Send one call and judge its answer; where the session in it had ended, log in anew and send it once more."""
        target, login = errand.target, errand.target.login
        if login is None or not carries_session(target, question.recipe):
            return await self._ask_once(errand, question, None)
        token = await self.sessions.token_for(target, login, errand.deadline)
        judged = await self._ask_once(errand, question, token)
        if judged.outcome.code is Code.UNAUTHENTICATED:
            self.sessions.drop(target, login, token)
            token = await self.sessions.token_for(target, login, errand.deadline)
            judged = await self._ask_once(errand, question, token)
        return judged

    async def _ask_once(self, errand: _Errand, question: _Question, session: Secret | None) -> Classified:
        errand.sessions.extend([session] if session else [])
        draft = question.request.with_header("X-Request-Id", errand.request_id)
        signed = sign_by(question.recipe, errand.target, draft, fresh(), session)
        errand.signed.append(signed)
        return question.judge(await self._courier.send(question.what, errand.target, signed, errand.deadline))
