"""The one handler for all routes: from a request to a reply, in the dialect of the vendor that the route stands for."""

import os
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import replace
from typing import Any, Protocol
from uuid import uuid4

import structlog

from gateway.core.context import RequestContext
from gateway.core.http.received import BodyNeeded, ReceivedRequest
from gateway.core.http.request import Headers, Request, Response
from gateway.core.outcome.addresses import without_addresses
from gateway.core.outcome.errors import CallerError, GatewayError, UpstreamError
from gateway.core.outcome.masking import mask_outcome
from gateway.core.outcome.outcome import Code, Outcome, Reason, failure
from gateway.core.outcome.reply import build_reply
from gateway.core.pipeline import answer_local_call, receive_relayed, receive_report_steps, reply_names, verify_head
from gateway.core.points.report import AcceptedReport
from gateway.core.recipe.verify import ReplayMemory, VerificationFailed, Verified
from gateway.core.vendor.relay import RelayedRequest, outcome_of_relayed, passed_headers
from gateway.core.vendor.route import Route
from gateway.core.vendor.routing import RouteMatch, Snapshot, choose_by_key_id
from gateway.offload import Offloader
from gateway.proof.diagnose import likely_cause
from gateway.telemetry import Telemetry
from gateway.web.body import Hold, Room
from gateway.web.protocol import CallerGone
from gateway.web.server import Incoming

Deliver = Callable[[Route, AcceptedReport, str], Awaitable[Outcome]]


class Answer(Protocol):
    """An upstream's answer whose body is read as it arrives; `read` gives nothing at its end, and raises UpstreamError
    where it breaks off. `length` is None where it was not stated."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Headers: ...

    @property
    def length(self) -> int | None: ...

    async def read(self) -> bytes: ...


PassOn = Callable[[Route, RelayedRequest, str], AbstractAsyncContextManager[Answer]]

MAX_IN_FLIGHT = 512
CAUSE_EVERY_S = 1.0
MAX_CAUSE_BYTES = 16_384
KEPT_REJECTED = 100
log = structlog.get_logger()


class Ingress:
    """Answers every request: `snapshot` gives the routes, `deliver` what became of the data points of a report,
    `pass_on` the answer to a call that is no report."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        deliver: Deliver,
        pass_on: PassOn,
        replays: ReplayMemory,
        telemetry: Telemetry,
        *,
        max_in_flight: int = MAX_IN_FLIGHT,
        offloader: Offloader | None = None,
        room: Room | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._deliver = deliver
        self._stream = pass_on
        self._replays = replays
        self._telemetry = telemetry
        self._offloader = offloader or Offloader()
        self._max_in_flight = max_in_flight
        self._in_flight: Counter[str] = Counter()
        self._room = room or Room()
        self._verified_room = Room()
        self._ask_again_at = 0.0
        self._rejected: deque[Mapping[str, Any]] = deque(maxlen=KEPT_REJECTED)

    @property
    def rejected(self) -> list[Mapping[str, Any]]:
        """The log lines of the last rejected reports, the newest first."""
        return list(reversed(self._rejected))

    async def __call__(self, incoming: Incoming) -> Response | None:
        started = time.monotonic()
        request_id = uuid4().hex
        match = self._snapshot().match(Request(incoming.method, incoming.target, incoming.headers))
        if match is None:
            outcome = incoming.problem or failure(Reason.UNKNOWN_CALL, "no route has this path")
            outcome = replace(outcome, request_id=request_id)
            _log(incoming, None, outcome, started)
            return build_reply(None, outcome, {})
        match, outcome, response, cause = await self._answer(match, incoming, request_id)
        self._telemetry.report(match.route.name, outcome, time.monotonic() - started)
        line = _log(incoming, match, outcome, started, cause)
        if not outcome.ok:
            self._rejected.append({"time": round(time.time(), 3), **line})
        return response

    async def _answer(
        self, match: RouteMatch, incoming: Incoming, request_id: str
    ) -> tuple[RouteMatch, Outcome, Response | None, str | None]:
        """Return whose request it was, what became of it, the reply unless it was passed on, and the likely cause of a
        refused signature."""
        message = _head(match, incoming)
        who: Verified | None = None
        error: Exception | None = None
        names: Mapping[str, Any] | None = None
        try:
            self._check(match, incoming)
            with suppress(BodyNeeded):
                if match.others:
                    match = choose_by_key_id(match, message)
                    message = _head(match, incoming)
                who = self._verify_head(match, message, incoming)
            source = match.route.source
            with self._reading(match.route, who, incoming.peer) as hold:
                body = await incoming.read_body(
                    max_bytes=source.max_body_bytes, timeout_s=source.read_timeout_s, hold=hold
                )
                if who is None:
                    match = choose_by_key_id(match, _message(match, incoming, body))
                message = _message(match, incoming, body)
                context = RequestContext(time.time_ns(), self._replays, incoming.peer, who, request_id)
                if match.form is not None and match.form.local_call is not None:
                    context = replace(context, entropy=os.urandom(16))
                    response = answer_local_call(match, match.form.local_call, message, context)
                    return match, Outcome(Code.OK, request_id=request_id), response, None
                if match.route.is_relay:
                    relayed = receive_relayed(match, message, context, call_id=uuid4().hex)
                    names = relayed.names
                else:
                    accepted = await self._offloader.run(receive_report_steps(match, message, context))
                    names = accepted.names
            with self._in_hand(match.route):
                if match.route.is_relay:
                    outcome = await self._pass_on(match.route, relayed, incoming, request_id)
                    return match, replace(outcome, request_id=request_id), None, None
                self._telemetry.ignored(match.route.name, accepted.ignored)
                outcome = await self._deliver(match.route, accepted, request_id)
        except GatewayError as problem:
            error, outcome = problem, problem.outcome
        except Exception as bug:
            log.exception("internal_error", route=match.route.name, request_id=request_id)
            error, outcome = bug, failure(Reason.INTERNAL, "an internal error")
        route = match.route
        if not isinstance(error, CallerError):
            # What the caller's own words are in is not masked: they could be guesses at the secrets.
            outcome = mask_outcome(outcome, route.secrets)
        outcome = replace(outcome, request_id=request_id)
        told = _hidden(route, outcome) if isinstance(error, CallerError) else without_addresses(outcome, route)
        names = names if names is not None else reply_names(match, message, error)
        response = build_reply(route.source.receive.replies, told, names)
        cause = self._cause(match, message, error)
        error = None  # it refers to this frame, and so to the body, which would wait for the garbage collector
        return match, outcome, response, cause

    def _verify_head(self, match: RouteMatch, head: ReceivedRequest, incoming: Incoming) -> Verified | None:
        """Do what `verify_head` does; if the request is rejected, its body stays unread."""
        try:
            return verify_head(match, head, RequestContext(time.time_ns(), self._replays, incoming.peer))
        except CallerError:
            incoming.decline_body()
            raise

    async def _pass_on(self, route: Route, relayed: RelayedRequest, incoming: Incoming, request_id: str) -> Outcome:
        """Reply with the upstream's answer as it arrives, and return what it meant. Raises GatewayError without one."""
        outcome: Outcome | None = None
        try:
            async with self._stream(route, relayed, request_id) as answer:
                outcome = outcome_of_relayed(route.target, answer.status, answer.headers)
                headers = passed_headers(answer.headers, request_id)
                async with incoming.streaming_reply.begin(answer.status, headers, answer.length) as write:
                    while data := await answer.read():
                        await write(data)
                return outcome
        except UpstreamError as error:
            if outcome is None:
                raise
            return error.outcome
        except CallerGone:
            return replace(outcome or Outcome(Code.OK), message="the caller hung up before it had the whole answer")

    def _cause(self, match: RouteMatch, message: ReceivedRequest, error: Exception | None) -> str | None:
        """Ask for the cause of a refusal at most once a second: whoever sends nonsense must not make it costly."""
        if not isinstance(error, VerificationFailed) or time.monotonic() < self._ask_again_at:
            return None
        if match.route.source.hide_unknown_keys or len(message.request.body) > MAX_CAUSE_BYTES:
            return None
        self._ask_again_at = time.monotonic() + CAUSE_EVERY_S
        return likely_cause(match, message, error, now_ns=time.time_ns())

    def _check(self, match: RouteMatch, incoming: Incoming) -> None:
        if incoming.problem is not None:
            raise CallerError(incoming.problem)
        if not any(each.route.source.admits(incoming.peer) for each in (match, *match.others)):
            raise CallerError.of(Reason.NOT_ALLOWED, "reports may not come from this address")
        match.expect_call(incoming.method)

    @contextmanager
    def _reading(self, route: Route, who: Verified | None, peer: str) -> Iterator[Hold]:
        """Reserve room for a body until it is verified and decoded. Raises CallerError if the limit is reached."""
        if who is None:
            gauge, held = self._telemetry.bodies, self._room.hold(peer)
        else:
            gauge, held = self._telemetry.verified_bodies, self._verified_room.hold((route.name, who.key))
        with gauge.track_inprogress(), held as hold:
            yield hold

    @contextmanager
    def _in_hand(self, route: Route) -> Iterator[None]:
        """Count a verified report while it is delivered. Raises CallerError if there are too many."""
        self._count(route, 1)
        try:
            if self._in_flight[route.name] > self._max_in_flight:
                raise CallerError.of(Reason.OVERLOADED, "too many reports at once", retry_after_s=1)
            yield
        finally:
            self._count(route, -1)

    def _count(self, route: Route, change: int) -> None:
        self._in_flight[route.name] += change
        self._telemetry.in_flight.labels(route.name).set(self._in_flight[route.name])
        if not self._in_flight[route.name]:
            del self._in_flight[route.name]  # reloads bring ever new names


def _head(match: RouteMatch, incoming: Incoming) -> ReceivedRequest:
    request = Request(incoming.method, incoming.target, incoming.headers, scheme=incoming.scheme)
    return match.read(request, head_only=True)


def _message(match: RouteMatch, incoming: Incoming, body: bytes) -> ReceivedRequest:
    request = Request(incoming.method, incoming.target, incoming.headers, body, incoming.scheme)
    return match.read(request)


def _hidden(route: Route, outcome: Outcome) -> Outcome:
    """Make an unknown key look like a wrong signature to the reporter, where the route wishes so."""
    if route.source.hide_unknown_keys and outcome.reason is Reason.UNKNOWN_KEY:
        hidden = failure(Reason.BAD_SIGNATURE, "the signature does not match")
        return replace(hidden, request_id=outcome.request_id)
    return outcome


def _log(
    incoming: Incoming, match: RouteMatch | None, outcome: Outcome, started: float, cause: str | None = None
) -> Mapping[str, Any]:
    """Write the line of a report, and return it. The caller's own request id is cut, and JSON keeps it on its line."""
    theirs = next((value for name, value in incoming.headers if name.lower() == "x-request-id"), None)
    fields = {
        "route": match.route.name if match else None,
        "request_id": outcome.request_id,
        "caller_request_id": theirs[:128].encode("utf-8", "replace").decode() if theirs else None,
        "peer": incoming.peer,
        "code": str(outcome.code),
        "reason": str(outcome.reason) if outcome.reason else None,
        "message": outcome.message or None,
        "cause": cause,
        "accepted": outcome.accepted,
        "rejected": len(outcome.rejected),
        "ms": round((time.monotonic() - started) * 1000, 1),
    }
    write = log.info if outcome.ok else log.warning
    line = {name: value for name, value in fields.items() if value is not None}
    write("report", **line)
    return line
