"""gateway try: one request through one route, each stage shown."""

import asyncio
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer

from gateway.commands.arguments.loading import load_or_fail
from gateway.commands.arguments.options import (
    DEFAULT_ROUTES,
    At,
    Json,
    RequestFile,
    Routes,
    read_clock,
    read_request,
    warn,
)
from gateway.commands.output.printing import (
    count,
    heading,
    line,
    outcome_json,
    point_json,
    print_json,
    print_response,
    response_json,
)
from gateway.commands.output.stages import call_json, matched, show_call, show_sender
from gateway.commands.relay_trial import RelayTrial
from gateway.core.http.received import ReceivedRequest
from gateway.core.http.request import Request, Response, Secret
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.combine import combine_outcomes
from gateway.core.outcome.errors import GatewayError
from gateway.core.outcome.masking import mask_outcome
from gateway.core.outcome.outcome import Code, Outcome
from gateway.core.outcome.reply import build_reply
from gateway.core.pipeline import plan_calls, plan_declarations, receive_report, reply_names
from gateway.core.points.report import AcceptedReport
from gateway.core.recipe.sign import Signed, SigningContext
from gateway.core.recipe.verify import NoReplayCheck
from gateway.core.sending.sign import sign_call
from gateway.core.sending.split import EncodeContext
from gateway.core.vendor.route import Route
from gateway.core.vendor.routing import RouteMatch
from gateway.delivery.call import CallSender
from gateway.delivery.client import Client
from gateway.delivery.direct import Direct
from gateway.delivery.dispatch import Dispatcher
from gateway.delivery.limits import Limiter
from gateway.delivery.transport import Purpose
from gateway.telemetry import Telemetry


def try_(
    route: Annotated[str, typer.Argument(metavar="ROUTE", help="The route's name.")],
    request: RequestFile,
    routes: Routes = DEFAULT_ROUTES,
    send: Annotated[bool, typer.Option("--send", help="Really send, at the real time, and show each answer.")] = False,
    at: At = None,
    case: Annotated[
        bool, typer.Option("--case", help="Take variables that are not set from the route's first case.")
    ] = False,
    json: Json = False,
) -> None:
    """Put a raw HTTP request through a route, and show each stage.

    Shown are as whom it was verified, its data points, what would go out with its string to sign, and the reply.
    Nothing is sent without --send. Exits 1 when the report is refused.

    \b
    Example:
      gateway try acme-to-zeta --request report.http --case
    """
    clock, report = read_clock(at), read_request(request)
    hint = "" if case else "--case takes variables from the route's first case"
    environ = _environ(routes, route) if case else None
    specs = load_or_fail(routes, only=[route], environ=environ, hint=hint)
    chosen = specs.routes[route]
    trial = (RelayTrial if chosen.is_relay else _Trial)(chosen, report, clock)
    trial.run(send)
    if json:
        print_json(trial.as_json(send))
    else:
        trial.show(send)
    raise typer.Exit(0 if trial.outcome.ok else 1)


def _environ(routes: Path, route: str) -> dict[str, str]:
    specs = load_or_fail(routes, trials=True, strict_environment=False)
    environ = next((trial.environ for trial in specs.trials if trial.owner == route), {})
    return {**environ, **os.environ}


def _new_id() -> str:
    return uuid4().hex


@dataclass(frozen=True, slots=True)
class _Sent:
    """A call that went out, or would; `answer` is None where none came."""

    purpose: Purpose
    signed: Signed
    answer: Response | None


@dataclass(slots=True)
class _Witness:
    """Remembers each call, and what must be masked beside the route's own secrets: a session, for one."""

    calls: list[_Sent] = field(default_factory=list)
    secrets: list[Secret] = field(default_factory=list)

    def on_exchange(self, purpose: Purpose, signed: Signed, answer: Response | None) -> None:
        self.calls.append(_Sent(purpose, signed, answer))

    def on_secret(self, secret: Secret) -> None:
        self.secrets.append(secret)


@dataclass(slots=True)
class _Trial:
    """One request on its way, and what each stage made of it."""

    route: Route
    request: Request
    now_ns: int
    accepted: AcceptedReport | None = None
    witness: _Witness = field(default_factory=_Witness)
    outcome: Outcome = field(default_factory=lambda: Outcome(Code.OK))
    response: Response | None = None

    def run(self, send: bool) -> None:
        match, message = matched(self.route, self.request)
        request_id = _new_id()
        error: Exception | None = None
        try:
            self.accepted = self._accept(match, message)
            deliver = self._send(self.accepted, request_id) if send else self._plan(self.accepted)
            self.outcome = asyncio.run(deliver)
        except GatewayError as problem:
            error, self.outcome = problem, problem.outcome
        self.outcome = replace(mask_outcome(self.outcome, self.secrets), request_id=request_id)
        names = reply_names(match, message, error)
        self.response = build_reply(self.route.source.receive.replies, self.outcome, names)

    @property
    def secrets(self) -> list[Secret]:
        return [*self.route.secrets, *self.witness.secrets]

    def _accept(self, match: RouteMatch, message: ReceivedRequest) -> AcceptedReport:
        match.expect_call(self.request.method)
        return receive_report(match, message, now_ns=self.now_ns, replays=NoReplayCheck())

    async def _send(self, accepted: AcceptedReport, request_id: str) -> Outcome:
        client = Client()
        try:
            dispatcher = Dispatcher(CallSender(client, Telemetry(), self.witness), Limiter(pausing=False))
            return await Direct(dispatcher).deliver(self.route.name, self.route.target, accepted, request_id)
        finally:
            await client.close()

    async def _plan(self, accepted: AcceptedReport) -> Outcome:
        """Make the calls without sending them; the outcome is that of an upstream that takes everything."""
        target = self.route.target
        encoder = EncodeContext(self.now_ns, _new_id, lambda draft: len(self._signed(draft).request.body))
        encoded = plan_calls(target, accepted.items, encoder)
        for call, declaring in plan_declarations(target, encoded.calls, encoder):
            for each in declaring:
                self.witness.on_exchange("declare", self._signed(each.request), None)
            self.witness.on_exchange("call", self._signed(call.request), None)
        return combine_outcomes(accepted, [], encoded.rejected)

    def _signed(self, draft: UnsignedRequest) -> Signed:
        return sign_call(
            self.route.target, self.route.target.recipe, draft, SigningContext(self.now_ns, os.urandom(16))
        )

    def show(self, send: bool) -> None:
        if self.accepted is not None:
            self._show_accepted(self.accepted)
        calls = self.witness.calls
        for number, sent in enumerate(calls, 1):
            show_call(sent.signed, self.secrets, f"{sent.purpose} {number} of {len(calls)}")
            if send:
                self._show_answer(sent.answer)
        if calls and not send:
            warn("nothing was sent; the reply is that of an upstream that takes everything (--send sends)")
        heading(f"outcome: {self.outcome.code} {self.outcome.reason or ''}".rstrip())
        if self.outcome.message:
            line(self.outcome.message)
        heading("reply")
        if self.response is not None:
            print_response(self.response, self.secrets)

    def _show_accepted(self, accepted: AcceptedReport) -> None:
        show_sender(accepted.caller)
        points = count(len(accepted.items), "data point")
        heading(f"{points}, {len(accepted.rejected)} rejected, {accepted.dropped} dropped")
        for item in accepted.items:
            print_json(point_json(item.point))

    def _show_answer(self, answer: Response | None) -> None:
        heading("answer" if answer else "no answer")
        if answer:
            print_response(answer, self.secrets)

    def as_json(self, send: bool) -> dict[str, Any]:
        accepted = self.accepted
        return {
            "route": self.route.name,
            "recipe": accepted.caller.recipe if accepted else None,
            "key": accepted.caller.key if accepted else None,
            "points": [point_json(item.point) for item in accepted.items] if accepted else [],
            "dropped": accepted.dropped if accepted else 0,
            "calls": [self._call_json(sent, send) for sent in self.witness.calls],
            "outcome": outcome_json(self.outcome),
            "reply": response_json(self.response, self.secrets) if self.response else None,
        }

    def _call_json(self, sent: _Sent, send: bool) -> dict[str, Any]:
        call = {"what": sent.purpose, **call_json(sent.signed, self.secrets)}
        if send:
            call["answer"] = response_json(sent.answer, self.secrets) if sent.answer else None
        return call
