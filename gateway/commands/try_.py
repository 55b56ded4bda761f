"""gateway try: put one request through one route, and show each stage."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any
from uuid import uuid4

import typer

from gateway.commands.arguments.loading import load_or_fail
from gateway.commands.arguments.options import DEFAULT_ROUTES, At, Json, RequestFile, Routes, read_clock, read_request
from gateway.commands.output import printing
from gateway.commands.output.errors import fail, warn
from gateway.commands.output.printing import count, heading, line, print_json
from gateway.core.context import AcceptedReport, RequestContext
from gateway.core.http.received import ReceivedRequest
from gateway.core.http.request import Request, Response, Secret
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.combine import combine_outcomes
from gateway.core.outcome.errors import GatewayError
from gateway.core.outcome.masking import mask_outcome, mask_secrets
from gateway.core.outcome.outcome import Code, Outcome
from gateway.core.outcome.reply import build_reply
from gateway.core.pipeline import ANONYMOUS, plan_calls, plan_declarations, receive_relayed, receive_report, reply_names
from gateway.core.recipe.sign import Signed, SigningContext
from gateway.core.recipe.verify import NoReplayCheck, Verified
from gateway.core.sending.encode import EncodeContext
from gateway.core.sending.sign import sign_call
from gateway.core.vendor.relay import outcome_of_relayed
from gateway.core.vendor.route import Route
from gateway.core.vendor.routing import RouteMatch, make_snapshot
from gateway.delivery.call import CallSender
from gateway.delivery.client import Client, Timeouts
from gateway.delivery.dispatch import Dispatcher
from gateway.delivery.limits import Limiter
from gateway.delivery.transport import Purpose
from gateway.telemetry import Telemetry
from gateway.tls import target_context


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

    Shows the verified sender, the data points, each call with its string to sign, and the reply. Nothing is sent
    without --send. Exits 1 when the report is rejected.

    \b
    Example:
      gateway try acme-to-zeta --request report.http --case
    """
    clock, report = read_clock(at), read_request(request)
    hint = "" if case else "--case takes variables from the route's first case"
    environ = None
    if case:
        trials = load_or_fail(routes, trials=True, strict_environment=False).trials
        environ = {**next((each.environ for each in trials if each.owner == route), {}), **os.environ}
    specs = load_or_fail(routes, only=[route], environ=environ, hint=hint)
    trial = Trial(specs.routes[route], clock, send)
    trial.run(report)
    if json:
        print_json(trial.as_json())
    else:
        _show(trial.as_json())
        if trial.calls and not send:
            reply_of = "what the upstream answers" if trial.route.is_relay else "that for an upstream that accepts all"
            warn(f"nothing was sent; the reply is {reply_of} (--send sends)")
    raise typer.Exit(0 if trial.outcome.ok else 1)


@dataclass(frozen=True, slots=True)
class Sent:
    """A call that was sent, or would be. `body_bytes` is the size of an answer's body that is passed on unread."""

    purpose: Purpose
    signed: Signed
    answer: Response | None = None
    body_bytes: int | None = None


@dataclass(slots=True)
class Trial:
    """The stages of one request. It observes the calls: `learned` are secrets in answers, such as session ids."""

    route: Route
    now_ns: int
    send: bool
    who: Verified | None = None
    accepted: AcceptedReport | None = None
    calls: list[Sent] = field(default_factory=list)
    secrets: list[Secret] = field(default_factory=list)
    outcome: Outcome = field(default_factory=lambda: Outcome(Code.OK))
    reply: Response | None = None

    def run(self, request: Request) -> None:
        match = make_snapshot([self.route]).match(request)
        if match is None:
            calls = ", ".join(f"{form.method} {form.path}" for form in self.route.source.receive.requests)
            fail(f"{self.route.name} does not listen to {request.path}, but to {calls}")
        message, request_id = match.read(request), uuid4().hex
        self.secrets += self.route.secrets
        names, error = None, None
        try:
            match.expect_call(request.method)
            if self.route.is_relay:
                names = self._relay(match, message)
            else:
                self.outcome = asyncio.run(self._deliver(match, message, request_id))
        except GatewayError as problem:
            error, self.outcome = problem, problem.outcome
        self.outcome = replace(mask_outcome(self.outcome, self.secrets), request_id=request_id)
        passed_on = self.route.is_relay and (error is None or any(sent.answer for sent in self.calls))
        if not passed_on:
            names = names or reply_names(match, message, error)
            self.reply = build_reply(self.route.source.receive.replies, self.outcome, names)

    async def _deliver(self, match: RouteMatch, message: ReceivedRequest, request_id: str) -> Outcome:
        """Verify and decode a report; with --send deliver it, otherwise build its calls and assume their success."""
        accepted = receive_report(match, message, RequestContext(self.now_ns, NoReplayCheck()))
        self.accepted, self.who = accepted, accepted.caller
        target = self.route.target
        if self.send:
            client = Client()
            try:
                dispatcher = Dispatcher(CallSender(client, Telemetry(), self), Limiter(pausing=False))
                return await dispatcher.deliver(self.route.name, target, accepted, request_id)
            finally:
                await client.close()
        encoder = EncodeContext(self.now_ns, lambda: uuid4().hex, lambda draft: len(self._signed(draft).request.body))
        encoded = plan_calls(target, accepted.items, encoder)
        for call, declaring in plan_declarations(target, encoded.calls, encoder):
            self.calls += [Sent("declare", self._signed(each.request)) for each in declaring]
            self.calls.append(Sent("call", self._signed(call.request)))
        return combine_outcomes(accepted, [], encoded.rejected)

    def _relay(self, match: RouteMatch, message: ReceivedRequest) -> Any:
        """Verify a relay's request and build its call, with --send send it; return the names for a reply."""
        relayed = receive_relayed(match, message, RequestContext(self.now_ns, NoReplayCheck()), call_id=uuid4().hex)
        self.who = relayed.caller
        self.calls.append(Sent("call", self._signed(relayed.request)))
        if self.send:
            asyncio.run(self._exchange(self.calls[0].signed))
        return relayed.names

    async def _exchange(self, signed: Signed) -> None:
        target, size = self.route.target, 0
        timeouts = Timeouts(connect_s=target.connect_timeout_s, total_s=target.timeout_s, more_s=target.timeout_s)
        client = Client()
        try:
            async with client.stream(signed.request, timeouts=timeouts, tls=target_context(target.tls)) as answer:
                self.outcome = outcome_of_relayed(target, answer.status, answer.headers)
                head = Response(answer.status, answer.headers)
                self.calls[0] = Sent("call", signed, head, 0)
                while part := await answer.read():
                    size += len(part)
                    self.calls[0] = Sent("call", signed, head, size)
        finally:
            await client.close()

    def _signed(self, draft: UnsignedRequest) -> Signed:
        target = self.route.target
        return sign_call(target, target.recipe, draft, SigningContext(self.now_ns, os.urandom(16)))

    def on_exchange(self, purpose: Purpose, signed: Signed, answer: Response | None) -> None:
        self.calls.append(Sent(purpose, signed, answer))

    def on_secret(self, secret: Secret) -> None:
        self.secrets.append(secret)

    def as_json(self) -> dict[str, Any]:
        accepted = self.accepted
        return {
            "route": self.route.name,
            "recipe": self.who.recipe if self.who else None,
            "key": self.who.key if self.who else None,
            "points": [printing.point_json(item.point) for item in accepted.items] if accepted else [],
            "rejected": len(accepted.rejected) if accepted else None,
            "dropped": accepted.dropped if accepted else 0,
            "calls": [self._call_json(sent) for sent in self.calls],
            "outcome": printing.outcome_json(self.outcome),
            "reply": printing.response_json(self.reply, self.secrets) if self.reply else None,
        }

    def _call_json(self, sent: Sent) -> dict[str, Any]:
        request = sent.signed.request
        call: dict[str, Any] = {
            "what": sent.purpose,
            "url": mask_secrets(request.url.partition("?")[0], self.secrets),
            "request": printing.request_text(request, self.secrets),
            "string_to_sign": mask_secrets(printing.string_to_sign(sent.signed.evaluation), self.secrets) or None,
        }
        if self.send:
            call["answer"] = printing.response_json(sent.answer, self.secrets) if sent.answer else None
        if sent.answer and sent.body_bytes is not None:
            call["answer"] |= {"body": None, "bytes": sent.body_bytes}
        return call


def _show(tried: Mapping[str, Any]) -> None:
    """Print what `Trial.as_json` returns."""
    if tried["recipe"] is not None:
        key = f", key {tried['key']}" if tried["key"] else ""
        anyone = "not verified: this route accepts every sender"
        heading(anyone if tried["recipe"] == ANONYMOUS.recipe else f"verified by {tried['recipe']}{key}")
    if tried["rejected"] is not None:
        points = count(len(tried["points"]), "data point")
        heading(f"{points}, {tried['rejected']} rejected, {tried['dropped']} dropped")
    for point in tried["points"]:
        print_json(point)
    for number, call in enumerate(tried["calls"], 1):
        heading(f"{call['what']} {number} of {len(tried['calls'])} to {call['url']}")
        if call["string_to_sign"]:
            line("string to sign: " + call["string_to_sign"])
        line(call["request"])
        if answer := call.get("answer"):
            body = f", passed on with {answer['bytes']:,} bytes of body" if "bytes" in answer else ""
            heading(f"answer{body}")
            printing.print_response(answer)
        elif "answer" in call:
            heading("no answer")
    heading(f"outcome: {tried['outcome']['code']} {tried['outcome'].get('reason', '')}".rstrip())
    if "message" in tried["outcome"]:
        line(tried["outcome"]["message"])
    if tried["reply"] is not None:
        heading("reply")
        printing.print_response(tried["reply"])
