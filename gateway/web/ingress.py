"""The handler of all routes: from a request to a reply in the dialect of the route's vendor.

`Ingress.__call__`, `_answer` and `_handle` hold the order of steps: match the route, admit, verify the head, read the
body, verify and decode (`core/pipeline.py`), deliver, build the reply, log. A small body that has arrived together with
its head takes no step of its own: the request is verified and decoded at once.
"""

import os
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import structlog

from gateway.core.context import AcceptedReport, RequestContext
from gateway.core.http.received import BodyNeeded, ReceivedRequest
from gateway.core.http.request import Headers, Response
from gateway.core.outcome.errors import CallerError, GatewayError, UpstreamError
from gateway.core.outcome.masking import mask_outcome, without_addresses
from gateway.core.outcome.outcome import Code, Outcome, Reason, failure
from gateway.core.outcome.reply import build_reply
from gateway.core.pipeline import answer_local_call, receive_relayed, receive_report_steps, reply_names, verify_head
from gateway.core.recipe.verify import ReplayMemory, VerificationFailed, Verified
from gateway.core.vendor.relay import RelayedRequest, outcome_of_relayed, passed_headers
from gateway.core.vendor.route import Route
from gateway.core.vendor.routing import RouteMatch, Snapshot, choose_by_key_id
from gateway.offload import Offloader
from gateway.proof.diagnose import likely_cause
from gateway.telemetry import Telemetry
from gateway.web.body import Room
from gateway.web.parser import Incoming
from gateway.web.streaming import CallerGone, stream_reply

MAX_IN_FLIGHT = 512
CAUSE_EVERY_S = 1.0
MAX_CAUSE_BYTES = 16_384
KEPT_REJECTED = 100
log = structlog.get_logger()


class UpstreamAnswer(Protocol):
    """An upstream's answer whose body is read while it arrives. `length` is None if it is not declared. `read` returns
    b"" at the end, and raises UpstreamError if the connection breaks."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Headers: ...
    @property
    def length(self) -> int | None: ...
    async def read(self) -> bytes: ...


class Delivery(Protocol):
    """Where accepted requests go. Implemented by `gateway.delivery.service.DeliveryService`, and for `gateway sink` by
    `gateway.commands.roles.vendor`."""

    async def deliver(self, route: Route, accepted: AcceptedReport, request_id: str, /) -> Outcome:
        """Deliver the data points of a report."""

    def pass_on(
        self, route: Route, relayed: RelayedRequest, request_id: str, /
    ) -> AbstractAsyncContextManager[UpstreamAnswer]:
        """Send the request of a relay."""


@dataclass(slots=True, eq=False)
class _Exchange:
    """One request on its way to a reply.

    `match` changes if the key id selects another of the matching routes. `received` has no body until it is read.
    `names` are the names that reply expressions read. `is_streamed` is set once the reply is written.
    """

    incoming: Incoming
    match: RouteMatch
    received: ReceivedRequest
    request_id: str
    caller: Verified | None = None
    names: Mapping[str, Any] | None = None
    local_reply: Response | None = None
    is_streamed: bool = False

    def choose_route(self) -> None:
        """Choose among the matching routes by key id. Raises BodyNeeded if the head does not have it."""
        if self.match.others:
            self.match = choose_by_key_id(self.match, self.received)
            self.received = self.match.read(self.received.request, head_only=self.received.head_only)


class Ingress:
    """Replies to every request to the listener."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        delivery: Delivery,
        replays: ReplayMemory,
        telemetry: Telemetry,
        *,
        max_in_flight: int = MAX_IN_FLIGHT,
        offloader: Offloader | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._delivery = delivery
        self._replays = replays
        self._telemetry = telemetry
        self._offloader = offloader or Offloader()
        self._max_in_flight = max_in_flight
        self._in_flight: dict[str, int] = {}
        self._unverified_room = Room()
        self._verified_room = Room()
        self._diagnose_again_at = 0.0
        self._rejected: deque[Mapping[str, Any]] = deque(maxlen=KEPT_REJECTED)

    @property
    def rejected(self) -> list[Mapping[str, Any]]:
        """The log lines of the last rejected reports, the newest first."""
        return list(reversed(self._rejected))

    async def __call__(self, incoming: Incoming) -> Response | None:
        started, request_id = time.monotonic(), _new_id()
        match = self._snapshot().match(incoming.request)
        if match is None:
            outcome = incoming.problem or failure(Reason.UNKNOWN_CALL, "no route has this path")
            outcome = outcome.with_request_id(request_id)
            _log(incoming, None, outcome, started)
            return build_reply(None, outcome, {})
        request, body = incoming.request, None
        if not match.others and "content-encoding" not in request.header_index:
            body = incoming.body.take_small(match.route.source.max_body_bytes)
            request = request.with_body(body) if body else request
        exchange = _Exchange(incoming, match, match.read(request, head_only=body is None), request_id)
        outcome, response, cause = await self._answer(exchange)
        self._telemetry.report(exchange.match.route.name, outcome, time.monotonic() - started)
        line = _log(incoming, exchange.match.route, outcome, started, cause)
        if not outcome.ok:
            self._rejected.append({"time": round(time.time(), 3), **line})
        return response

    async def _answer(self, exchange: _Exchange) -> tuple[Outcome, Response | None, str | None]:
        """Return the outcome, the reply unless it is streamed, and the likely cause of a rejected signature."""
        error: Exception | None = None
        try:
            outcome = await self._handle(exchange)
        except GatewayError as problem:
            error, outcome = problem, problem.outcome
        except Exception as bug:
            log.exception("internal_error", route=exchange.match.route.name, request_id=exchange.request_id)
            error, outcome = bug, failure(Reason.INTERNAL, "an internal error")
        outcome = outcome.with_request_id(exchange.request_id)
        if exchange.local_reply is not None or exchange.is_streamed:
            return outcome, exchange.local_reply, None
        match, route = exchange.match, exchange.match.route
        visible = outcome
        if isinstance(error, CallerError):
            # Not masked: replacing secrets in the caller's own text would confirm a guess at one.
            if route.source.hide_unknown_keys and outcome.reason is Reason.UNKNOWN_KEY:
                hidden = failure(Reason.BAD_SIGNATURE, "the signature does not match")
                visible = hidden.with_request_id(outcome.request_id)
        elif not outcome.ok:
            outcome = mask_outcome(outcome, route.secrets)
            visible = without_addresses(outcome, route)
        names = exchange.names
        if names is None:
            names = reply_names(match, exchange.received, error)
        response = build_reply(route.source.receive.replies, visible, names)
        cause = None if error is None else self._likely_cause(exchange, error)
        error = None  # its traceback refers to the body, which would wait for the garbage collector
        return outcome, response, cause

    async def _handle(self, exchange: _Exchange) -> Outcome:
        """Receive the request and deliver it. Raises GatewayError."""
        incoming, match = exchange.incoming, exchange.match
        if incoming.problem is not None:
            raise CallerError(incoming.problem)
        if not any([each.route.source.admits(incoming.peer) for each in (match, *match.others)]):
            raise CallerError.of(Reason.NOT_ALLOWED, "reports may not come from this address")
        match.expect_call(incoming.request.method)
        work = await (self._read(exchange) if exchange.received.head_only else self._receive(exchange))
        if work is None:
            return Outcome(Code.OK)
        route = exchange.match.route
        reports = self._in_flight.get(route.name, 0)
        if reports >= self._max_in_flight:
            raise CallerError.of(Reason.OVERLOADED, "too many reports at once", retry_after_s=1)
        self._in_flight[route.name] = reports + 1
        gauge = self._telemetry.series("gateway_reports_in_flight", route.name)
        gauge.inc()
        try:
            if isinstance(work, RelayedRequest):
                return await self._pass_on(exchange, work)
            if work.ignored:
                self._telemetry.series("gateway_ignored_members", route.name).inc(work.ignored)
            return await self._delivery.deliver(route, work, exchange.request_id)
        finally:
            gauge.dec()
            self._in_flight[route.name] -= 1
            if not self._in_flight[route.name]:
                del self._in_flight[route.name]  # reloads may bring new names without end

    async def _receive(self, exchange: _Exchange) -> AcceptedReport | RelayedRequest | None:
        """Verify and decode the request. Returns None for a local call, whose reply is then known."""
        match, received = exchange.match, exchange.received
        local_call = match.form.local_call if match.form else None
        peer, entropy = exchange.incoming.peer, os.urandom(16) if local_call else b""
        context = RequestContext(
            time.time_ns(), self._replays, peer, exchange.caller, exchange.request_id, entropy=entropy
        )
        if local_call is not None:
            exchange.local_reply = answer_local_call(match, local_call, received, context)
            return None
        work: AcceptedReport | RelayedRequest
        if match.route.is_relay:
            work = receive_relayed(match, received, context, call_id=_new_id())
        else:
            work = await self._offloader.run(receive_report_steps(match, received, context))
        exchange.names = work.names
        return work

    async def _read(self, exchange: _Exchange) -> AcceptedReport | RelayedRequest | None:
        """Verify the request by its head if that suffices, read its body within the memory limits, and receive it.

        If the head is rejected, the body stays unread.
        """
        incoming, telemetry = exchange.incoming, self._telemetry
        try:
            exchange.choose_route()
            context = RequestContext(time.time_ns(), self._replays, incoming.peer)
            exchange.caller = verify_head(exchange.match, exchange.received, context)
        except BodyNeeded:
            pass
        except CallerError:
            incoming.body.fail()
            raise
        source = exchange.match.route.source
        if exchange.caller is None:
            gauge, room = telemetry.series("gateway_unverified_bodies"), self._unverified_room.hold(incoming.peer)
        else:
            owner = (exchange.match.route.name, exchange.caller.key)
            gauge, room = telemetry.series("gateway_verified_bodies"), self._verified_room.hold(owner)
        with gauge.track_inprogress(), room as reserve:
            body = await incoming.body.read(
                max_bytes=source.max_body_bytes, timeout_s=source.read_timeout_s, reserve=reserve
            )
            exchange.received = exchange.match.read(incoming.request.with_body(body))
            if exchange.caller is None:
                exchange.choose_route()
            return await self._receive(exchange)

    async def _pass_on(self, exchange: _Exchange, relayed: RelayedRequest) -> Outcome:
        """Stream the upstream's answer to the caller, and return its outcome. Raises GatewayError without an answer."""
        route, outcome = exchange.match.route, None
        try:
            async with self._delivery.pass_on(route, relayed, exchange.request_id) as answer:
                outcome = outcome_of_relayed(route.target, answer.status, answer.headers)
                headers = passed_headers(answer.headers, exchange.request_id)
                async with stream_reply(exchange.incoming, answer.status, headers, answer.length) as write:
                    while data := await answer.read():
                        await write(data)
        except UpstreamError as error:
            if outcome is None:
                raise
            outcome = error.outcome
        except CallerGone:
            outcome = outcome or Outcome(Code.OK)
            outcome = replace(outcome, message="the caller disconnected before the end of the answer")
        exchange.is_streamed = True
        return outcome

    def _likely_cause(self, exchange: _Exchange, error: Exception | None) -> str | None:
        """Diagnose at most one rejected signature per second, because a diagnosis is expensive."""
        if not isinstance(error, VerificationFailed) or time.monotonic() < self._diagnose_again_at:
            return None
        body = exchange.received.request.body
        if exchange.match.route.source.hide_unknown_keys or len(body) > MAX_CAUSE_BYTES:
            return None
        self._diagnose_again_at = time.monotonic() + CAUSE_EVERY_S
        return likely_cause(exchange.match, exchange.received, error, now_ns=time.time_ns())


def _new_id() -> str:
    return f"{random.getrandbits(128):032x}"  # not a secret: os.urandom would cost a system call


def _log(
    incoming: Incoming, route: Route | None, outcome: Outcome, started: float, cause: str | None = None
) -> Mapping[str, Any]:
    """Log a report, and return the fields. The caller's own request id is truncated."""
    theirs = incoming.request.header("x-request-id")
    line: dict[str, Any] = {"route": route.name} if route else {}
    line["request_id"] = outcome.request_id
    if theirs:
        line["caller_request_id"] = theirs[:128].encode("utf-8", "replace").decode()
    line["peer"] = incoming.peer
    line["code"] = outcome.code.value
    if outcome.reason:
        line["reason"] = outcome.reason.value
    if outcome.message:
        line["message"] = outcome.message
    if cause is not None:
        line["cause"] = cause
    line["accepted"] = outcome.accepted
    line["rejected"] = len(outcome.rejected)
    line["ms"] = round((time.monotonic() - started) * 1000, 1)
    (log.info if outcome.ok else log.warning)("report", **line)
    return line
