"""gateway try: one request through one route, each stage shown."""

import asyncio
import os
import time
from dataclasses import dataclass, field, replace
from typing import Annotated, Any
from uuid import uuid4

import typer

from gateway.commands.loading import load_or_fail
from gateway.commands.options import DEFAULT_ROUTES, At, Json, RequestFile, Routes, fail, read_request, warn
from gateway.commands.printing import (
    heading,
    line,
    outcome_json,
    point_json,
    print_json,
    print_response,
    request_text,
)
from gateway.core.accept import Accepted, accept, reply_names
from gateway.core.encode import Call, encode
from gateway.core.errors import CallerError, GatewayError
from gateway.core.fold import fold, mask
from gateway.core.judge import judge
from gateway.core.message import Message
from gateway.core.model import Request, Response
from gateway.core.outcome import Code, Outcome, Reason, Rejected
from gateway.core.recipe.filters import to_text
from gateway.core.recipe.sign import Fresh, Signed
from gateway.core.reply import reply
from gateway.core.route import Match, Route, make_snapshot
from gateway.core.signing import sign_call
from gateway.core.suggest import nearest
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
    """Put one raw HTTP request through a route and show each stage: verified as whom, data points, what would go out
    with its string to sign, and the reply. Nothing is sent without --send.

    Exits 1 when the report is refused.

    Example: gateway try zstack-to-tencent --request report.http --case
    """
    specs = load_or_fail(routes, only=[route], environ=_environ(routes, route) if case else None)
    if route not in specs.routes:
        fail(f"no route is named {route!r}; {nearest(route, specs.routes)}")
    clock = time.time() if at is None else at
    trial = _Trial(specs.routes[route], read_request(request), int(clock * 1_000_000_000))
    trial.run(send)
    if json:
        print_json(trial.as_json())
    else:
        trial.show(send)
    raise typer.Exit(0 if trial.outcome.ok else 1)


def _environ(routes: Any, route: str) -> dict[str, str]:
    specs = load_or_fail(routes, trials=True, strict_environment=False)
    environ = next((trial.environ for trial in specs.trials if trial.owner == route), {})
    return {**environ, **os.environ}


class _Once:
    """A replay memory for a request that comes once."""

    def remember(self, once: tuple[str, ...], until_ns: int) -> bool:
        return True


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
        match = make_snapshot([self.route]).match(self.request.method, self.request.path)
        if match is None:
            fail(f"the route {self.route.name} does not listen to {self.request.path}")
        message = Message(self.request, match.form.body if match.form else "none")
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
        if match.form is None:
            raise CallerError.of(Reason.WRONG_METHOD, f"{self.request.method} is not a method of this call")
        self.accepted = accept(match, message, now_ns=self.now_ns, replays=_Once())
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
        target = self.route.target
        client = Client()
        results = []
        for call, signed in self.calls:
            answer = None
            try:
                timeouts = Timeouts(connect_s=target.connect_timeout_s, total_s=target.timeout_s)
                answer = await client.send(signed.request, timeouts=timeouts)
                outcome = judge(target.send, answer, {"call_id": call.call_id, "given": target.given}).outcome
            except GatewayError as error:
                outcome = error.outcome
            self.answers.append(answer)
            results.append((call, outcome))
        await client.close()
        return results

    def show(self, send: bool) -> None:
        if self.accepted is not None:
            self._show_accepted(self.accepted)
        for number, (_, signed) in enumerate(self.calls, 1):
            heading(f"call {number} of {len(self.calls)} to {signed.request.url.partition('?')[0]}")
            if signed.evaluation.string_to_sign:
                line("string to sign: " + to_text(signed.evaluation.string_to_sign))
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
            print_response(self.response)

    def _show_accepted(self, accepted: Accepted) -> None:
        key = f", key {accepted.who.key}" if accepted.who.key else ""
        heading(f"verified by {accepted.who.recipe}{key}")
        heading(f"{len(accepted.items)} data points, {len(accepted.rejected)} rejected, {accepted.dropped} dropped")
        for item in accepted.items:
            print_json(point_json(item.point))

    def _show_answer(self, answer: Response | None) -> None:
        heading("answer" if answer else "no answer")
        if answer:
            print_response(answer)

    def as_json(self) -> dict[str, Any]:
        accepted = self.accepted
        return {
            "route": self.route.name,
            "recipe": accepted.who.recipe if accepted else None,
            "key": accepted.who.key if accepted else None,
            "points": [point_json(item.point) for item in accepted.items] if accepted else [],
            "calls": [
                {
                    "request": request_text(signed.request, self.route.secrets),
                    "string_to_sign": to_text(signed.evaluation.string_to_sign),
                }
                for _, signed in self.calls
            ],
            "outcome": outcome_json(self.outcome),
            "reply": {
                "status": self.response.status if self.response else None,
                "body": self.response.body.decode("utf-8", "replace") if self.response else None,
            },
        }
