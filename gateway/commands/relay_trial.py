"""One call of a relay on its way, for `try`: the call that takes its place, and the head of the answer."""

import asyncio
import os
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from gateway.commands.arguments.options import warn
from gateway.commands.output.printing import (
    heading,
    line,
    outcome_json,
    print_response,
    response_json,
)
from gateway.commands.output.stages import call_json, matched, show_call, show_sender
from gateway.core.http.received import ReceivedRequest
from gateway.core.http.request import Request, Response
from gateway.core.outcome.errors import GatewayError
from gateway.core.outcome.masking import mask_outcome
from gateway.core.outcome.outcome import Code, Outcome
from gateway.core.outcome.reply import build_reply
from gateway.core.pipeline import receive_relayed, reply_names
from gateway.core.recipe.sign import Signed, SigningContext
from gateway.core.recipe.verify import NoReplayCheck
from gateway.core.sending.sign import sign_call
from gateway.core.vendor.relay import RelayedRequest, outcome_of_relayed
from gateway.core.vendor.route import Route
from gateway.core.vendor.routing import RouteMatch
from gateway.delivery.client import Client, Timeouts


@dataclass(slots=True)
class RelayTrial:
    """What each stage made of one request. `size` counts the bytes of the answer's body, which is not kept."""

    route: Route
    request: Request
    now_ns: int
    relayed: RelayedRequest | None = None
    signed: Signed | None = None
    answer: Response | None = None
    size: int = 0
    outcome: Outcome = field(default_factory=lambda: Outcome(Code.OK))
    refusal: Response | None = None

    def run(self, send: bool) -> None:
        match, message = matched(self.route, self.request)
        error: Exception | None = None
        try:
            self._stages(match, message, send)
        except GatewayError as problem:
            error, self.outcome = problem, problem.outcome
        self.outcome = replace(mask_outcome(self.outcome, self.route.secrets), request_id=uuid4().hex)
        if error is not None and self.answer is None:
            names = self.relayed.names if self.relayed else reply_names(match, message, error)
            self.refusal = build_reply(self.route.source.receive.replies, self.outcome, names)

    def _stages(self, match: RouteMatch, message: ReceivedRequest, send: bool) -> None:
        match.expect_call(self.request.method)
        self.relayed = receive_relayed(match, message, now_ns=self.now_ns, call_id=uuid4().hex, replays=NoReplayCheck())
        self.signed = sign_call(
            self.route.target,
            self.route.target.recipe,
            self.relayed.request,
            SigningContext(self.now_ns, os.urandom(16)),
        )
        if send:
            asyncio.run(self._exchange(self.signed.request))

    async def _exchange(self, request: Request) -> None:
        target = self.route.target
        timeouts = Timeouts(connect_s=target.connect_timeout_s, total_s=target.timeout_s, more_s=target.timeout_s)
        client = Client()
        try:
            async with client.stream(request, timeouts=timeouts, tls=target.tls) as answer:
                self.answer = Response(answer.status, answer.headers)
                self.outcome = outcome_of_relayed(target, answer.status, answer.headers)
                while part := await answer.read():
                    self.size += len(part)
        finally:
            await client.close()

    def show(self, send: bool) -> None:
        if self.relayed is not None:
            show_sender(self.relayed.caller)
        if self.signed is not None:
            show_call(self.signed, self.route.secrets, "call")
            if not send:
                warn("nothing was sent; the reply is what the upstream answers (--send sends)")
        heading(f"outcome: {self.outcome.code} {self.outcome.reason or ''}".rstrip())
        if self.outcome.message:
            line(self.outcome.message)
        if self.refusal is not None:
            heading("reply")
            print_response(self.refusal, self.route.secrets)
        if self.answer is not None:
            heading(f"answer, passed on with {self.size:,} bytes of body")
            print_response(self.answer, self.route.secrets)

    def as_json(self, send: bool) -> dict[str, Any]:
        who, secrets = self.relayed.caller if self.relayed else None, self.route.secrets
        call = call_json(self.signed, secrets) if self.signed else None
        if call is not None and self.answer is not None:
            call["answer"] = {**response_json(self.answer, secrets), "body": None, "bytes": self.size}
        return {
            "route": self.route.name,
            "recipe": who.recipe if who else None,
            "key": who.key if who else None,
            "calls": [call] if call else [],
            "outcome": outcome_json(self.outcome),
            "reply": response_json(self.refusal, secrets) if self.refusal else None,
        }
