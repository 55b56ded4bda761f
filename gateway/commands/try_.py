"""gateway try: one request through one route, each stage shown."""

import asyncio
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer

from gateway.commands.explanation import string_to_sign
from gateway.commands.loading import load_or_fail
from gateway.commands.options import DEFAULT_ROUTES, At, Json, RequestFile, Routes, fail, read_clock, read_request, warn
from gateway.commands.printing import (
    count,
    heading,
    line,
    outcome_json,
    point_json,
    print_json,
    print_response,
    request_text,
    response_json,
)
from gateway.core.accept import ANYONE, Accepted, accept, reply_names
from gateway.core.blame import blame
from gateway.core.encode import Call, encode
from gateway.core.errors import GatewayError
from gateway.core.fold import fold, mask
from gateway.core.judge import judge
from gateway.core.masking import masked
from gateway.core.message import Message
from gateway.core.model import Request, Response
from gateway.core.outcome import Code, Outcome, Rejected
from gateway.core.recipe.sign import Fresh, Signed
from gateway.core.recipe.verify import Forgetful
from gateway.core.reply import reply
from gateway.core.route import Route
from gateway.core.signing import sign_call
from gateway.core.snapshot import Match, make_snapshot
from gateway.delivery.client import Client, Timeouts


def try_(
    route: Annotated[str, typer.Argument(metavar="ROUTE", help="The route's name.")],
    request: RequestFile,
    routes: Routes = DEFAULT_ROUTES,
    send: Annotated[bool, typer.Option("--send", help="Really send, and show what the upstream answers.")] = False,
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
    trial = _Trial(specs.routes[route], report, clock)
    trial.run(send)
    if json:
        print_json(trial.as_json())
    else:
        trial.show(send)
    raise typer.Exit(0 if trial.outcome.ok else 1)


def _environ(routes: Path, route: str) -> dict[str, str]:
    specs = load_or_fail(routes, trials=True, strict_environment=False)
    environ = next((trial.environ for trial in specs.trials if trial.owner == route), {})
    return {**environ, **os.environ}


@dataclass(slots=True)
class _Trial:
    """One request on its way, and what each stage made of it."""

    route: Route
    request: Request
    now_ns: int
    accepted: Accepted | None = None
    calls: list[tuple[Call, Signed]] = field(default_factory=list)
    answers: list[Response | None] = field(default_factory=list)
    outcome: Outcome = field(default_factory=lambda: Outcome(Code.OK))
    response: Response | None = None

    def run(self, send: bool) -> None:
        match = make_snapshot([self.route]).match(self.request)
        if match is None:
            calls = ", ".join(f"{form.method} {form.path}" for form in self.route.source.receive.requests)
            fail(f"{self.route.name} does not listen to {self.request.path}, but to {calls}")
        message = match.read(self.request)
        error: Exception | None = None
        try:
            self.outcome = self._stages(match, message, send)
        except GatewayError as problem:
            error, self.outcome = problem, problem.outcome
        masked = mask(self.outcome, self.route.secrets)
        self.outcome = replace(masked, request_id=uuid4().hex)
        names = reply_names(match, message, error)
        self.response = reply(self.route.source.receive.replies, self.outcome, names)

    def _stages(self, match: Match, message: Message, send: bool) -> Outcome:
        match.expect_call(self.request.method)
        self.accepted = accept(match, message, now_ns=self.now_ns, replays=Forgetful())
        calls, refused = self._encode(self.accepted)
        self.calls = [(call, sign_call(self.route.target, call.draft, self._fresh())) for call in calls]
        if not send:
            return fold(self.accepted, [], refused)
        results = asyncio.run(self._send())
        return fold(self.accepted, results, refused)

    def _encode(self, accepted: Accepted) -> tuple[tuple[Call, ...], tuple[Rejected, ...]]:
        target = self.route.target
        encoded = encode(
            target,
            accepted.items,
            now_ns=self.now_ns,
            new_call_id=lambda: uuid4().hex,
            size_of=lambda draft: len(sign_call(target, draft, self._fresh()).request.body),
        )
        return encoded.calls, encoded.rejected

    def _fresh(self) -> Fresh:
        return Fresh(self.now_ns, os.urandom(16))

    async def _send(self) -> list[tuple[Call, Outcome]]:
        client = Client()
        try:
            return [(call, await self._exchange(client, call, signed)) for call, signed in self.calls]
        finally:
            await client.close()

    async def _exchange(self, client: Client, call: Call, signed: Signed) -> Outcome:
        target = self.route.target
        timeouts = Timeouts(connect_s=target.connect_timeout_s, total_s=target.timeout_s)
        try:
            answer = await client.send(signed.request, timeouts=timeouts, tls=target.tls)
        except GatewayError as error:
            self.answers.append(None)
            return error.outcome
        self.answers.append(answer)
        return blame(call, judge(target.send, answer, {"call_id": call.call_id, "given": target.given}))

    def show(self, send: bool) -> None:
        if self.accepted is not None:
            self._show_accepted(self.accepted)
        for number, (_, signed) in enumerate(self.calls, 1):
            heading(f"call {number} of {len(self.calls)} to {self._masked(signed.request.url.partition('?')[0])}")
            if signed.evaluation.string_to_sign:
                line("string to sign: " + self._string_to_sign(signed))
            line(request_text(signed.request, self.route.secrets))
            if send:
                self._show_answer(self.answers[number - 1])
        if self.calls and not send:
            warn("nothing was sent; the reply is that of an upstream that takes everything (--send sends)")
        heading(f"outcome: {self.outcome.code} {self.outcome.reason or ''}".rstrip())
        if self.outcome.message:
            line(self.outcome.message)
        heading("reply")
        if self.response is not None:
            print_response(self.response, self.route.secrets)

    def _show_accepted(self, accepted: Accepted) -> None:
        key = f", key {accepted.who.key}" if accepted.who.key else ""
        anyone = accepted.who is ANYONE
        heading(
            "not verified: this route believes whoever reports" if anyone else f"verified by {accepted.who.recipe}{key}"
        )
        points = count(len(accepted.items), "data point")
        heading(f"{points}, {len(accepted.rejected)} rejected, {accepted.dropped} dropped")
        for item in accepted.items:
            print_json(point_json(item.point))

    def _show_answer(self, answer: Response | None) -> None:
        heading("answer" if answer else "no answer")
        if answer:
            print_response(answer, self.route.secrets)

    def _string_to_sign(self, signed: Signed) -> str:
        recipe = self.route.target.recipe
        return self._masked(string_to_sign(recipe, signed.evaluation)) if recipe else ""

    def _masked(self, text: str) -> str:
        return masked(text, self.route.secrets)

    def as_json(self) -> dict[str, Any]:
        accepted = self.accepted
        return {
            "route": self.route.name,
            "recipe": accepted.who.recipe if accepted else None,
            "key": accepted.who.key if accepted else None,
            "points": [point_json(item.point) for item in accepted.items] if accepted else [],
            "dropped": accepted.dropped if accepted else 0,
            "calls": [self._call_json(number) for number in range(len(self.calls))],
            "outcome": outcome_json(self.outcome),
            "reply": response_json(self.response, self.route.secrets) if self.response else None,
        }

    def _call_json(self, number: int) -> dict[str, Any]:
        _, signed = self.calls[number]
        call: dict[str, Any] = {
            "request": request_text(signed.request, self.route.secrets),
            "string_to_sign": self._string_to_sign(signed) or None,
        }
        if self.answers:
            answer = self.answers[number]
            call["answer"] = response_json(answer, self.route.secrets) if answer else None
        return call
