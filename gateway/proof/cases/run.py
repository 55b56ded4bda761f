"""Runs a golden case: each part is compared with what the stages make of the parts before it.

The parts are in the order of an exchange: the request, its data points, the login, the declarations and the calls to
the upstream, the upstream's answer, the outcome, and the reply. A case may start with any of request, points, answer,
outcome and reply. All calls succeed if there is no answer.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gateway.core.context import AcceptedReport, RequestContext
from gateway.core.http.request import Request, Response
from gateway.core.outcome.classify import Classified, classify
from gateway.core.outcome.combine import combine_outcomes
from gateway.core.outcome.errors import GatewayError
from gateway.core.outcome.outcome import Code, Outcome
from gateway.core.outcome.rejections import map_rejections
from gateway.core.outcome.reply import build_reply
from gateway.core.pipeline import (
    ANONYMOUS,
    answer_local_call,
    plan_calls,
    plan_declarations,
    receive_relayed,
    receive_report,
    reply_names,
)
from gateway.core.points.decode import Item, read_point
from gateway.core.points.point import DataPoint
from gateway.core.recipe.verify import NoReplayCheck
from gateway.core.sending.encode import Call, EncodeContext
from gateway.core.sending.sign import login_request, login_token
from gateway.core.vendor.relay import RelayedRequest, outcome_of_relayed, passed_headers
from gateway.core.vendor.route import Route
from gateway.core.vendor.routing import make_snapshot
from gateway.proof.cases.parts import (
    Mismatch,
    differences,
    outcome_of,
    request_parts,
    response_of,
    response_parts,
    stage,
)
from gateway.proof.cases.request import ENTROPY, request_of

_CALL_ID = ENTROPY.hex()
_REQUEST_ID = "0" * 32


@dataclass(frozen=True, slots=True)
class Case:
    """One golden exchange. Its parts are plain data, or None. `now_ns` is the time of receipt."""

    name: str
    now_ns: int
    request: str | Mapping[str, Any] | None = None
    points: list[dict[str, Any]] | None = None
    login: Mapping[str, Any] | None = None
    declares: list[dict[str, Any]] | None = None
    sends: list[dict[str, Any]] | None = None
    answer: Mapping[str, Any] | None = None
    outcome: Mapping[str, Any] | None = None
    reply: Mapping[str, Any] | None = None


def run_case(case: Case, route: Route) -> list[str]:
    """Return the differences between the case and the results of the stages; empty if it passes."""
    try:
        return list(_Run(case, route).differences())
    except Mismatch as error:
        return [str(error)]


def case_request(case: Case, route: Route) -> Request:
    """Return the request of a case as it is on the wire. Raises Mismatch."""
    return request_of(case.request or {}, route, now_ns=case.now_ns)


class _Run:
    """One run of a case, with the results of the stages so far."""

    def __init__(self, case: Case, route: Route) -> None:
        self.case = case
        self.route = route
        forms = {form.name: form for form in route.target.send.requests}
        wanted = case.sends[0].get("request") if case.sends else None
        if wanted is not None and wanted not in forms:
            raise Mismatch(f"sends: no request is named {wanted!r}")
        if wanted is not None:
            self.route = replace(route, target=replace(route.target, form=forms[wanted]))
        self.context = EncodeContext(case.now_ns, lambda: _CALL_ID, lambda request: len(request.render().body))
        request = next((form.name for form in route.source.receive.requests), None)
        self.names: dict[str, Any] = {"body": None, "query": {}, "headers": {}, "given": dict(route.source.given)}
        self.names |= {"request": request, "recipe": None, "key": None}
        self.accepted: AcceptedReport | None = None
        self.relayed: RelayedRequest | None = None
        self.calls: tuple[Call, ...] | None = None
        self.classified: Classified | None = None
        self.outcome: Outcome | None = None
        self.response: Response | None = None

    def differences(self) -> Iterator[str]:
        case = self.case
        if case.request is not None:
            self._receive(case_request(case, self.route))
        if case.points is not None:
            yield from self._points(case.points)
        if case.login is not None:
            yield from self._login(case.login)
        if case.declares is not None:
            with stage("declares"):  # to an upstream that knows no metrics
                planned = plan_declarations(self.route.target, self._planned(), self.context)
            declared = [request_parts(declaring.request) for _, before in planned for declaring in before]
            yield from differences(case.declares, declared, "declares")
        if case.sends is not None:
            calls = [self.relayed] if self.relayed is not None else self._planned()
            form = {"request": self.route.target.form.name}
            yield from differences(case.sends, [form | request_parts(call.request) for call in calls], "sends")
        self._answer()
        if case.outcome is not None:
            yield from self._outcome(case.outcome)
        if case.reply is not None:
            yield from self._reply(case.reply)

    def _receive(self, request: Request) -> None:
        context = RequestContext(self.case.now_ns, NoReplayCheck(), request_id=_REQUEST_ID, entropy=ENTROPY)
        match = make_snapshot([self.route]).match(request)
        if match is None:
            raise Mismatch(f"request: no call of {self.route.name} has the path {request.path}")
        message = match.read(request)
        try:
            call = match.expect_call(request.method).local_call
            if call is not None:
                self.response = answer_local_call(match, call, message, context)
                self.outcome = Outcome(Code.OK)
                return
            if self.route.is_relay:
                self.relayed = receive_relayed(match, message, context, call_id=_CALL_ID)
            else:
                self.accepted = receive_report(match, message, context)
            self.names |= reply_names(match, message, None)
        except GatewayError as error:
            self.outcome = error.outcome
            self.names |= reply_names(match, message, error)

    def _points(self, expected: list[dict[str, Any]]) -> Iterator[str]:
        if self.case.request is not None:
            made = [item.point.as_mapping() for item in self._accepted().items]
            yield from differences(expected, made, "points")
            return
        try:
            points = [read_point(fields, now_ns=self.case.now_ns) for fields in expected]
        except ValueError as error:
            raise Mismatch(f"points: {error}") from error
        items = tuple(Item(index, expected[index], point) for index, point in enumerate(points))
        self.accepted = AcceptedReport(ANONYMOUS, items)

    def _accepted(self) -> AcceptedReport:
        if self.accepted is None:
            outcome = self.outcome or Outcome(Code.INTERNAL)
            raise Mismatch(f"request: rejected, {outcome.reason}: {outcome.message}")
        return self.accepted

    def _login(self, expected: Mapping[str, Any]) -> Iterator[str]:
        """Compare the unsigned login request to the target, and the token in its answer."""
        target = self.route.target
        if target.login is None:
            raise Mismatch(f"login: {self.route.name} does not log in to its target")
        with stage("login"):
            request = login_request(target, target.login, now_ns=self.case.now_ns, call_id=_CALL_ID)
        yield from differences(expected.get("sends", {}), request_parts(request), "login.sends")
        if "token" in expected:
            token = login_token(target.login, response_of(expected.get("answer", {})))
            yield from differences(expected["token"], token, "login.token")

    def _planned(self) -> tuple[Call, ...]:
        if self.calls is None:
            with stage("sends"):
                self.calls = plan_calls(self.route.target, self._accepted().items, self.context).calls
        return self.calls

    def _answer(self) -> None:
        """Classify the answer, or pass it on if the route is a relay."""
        if self.route.is_relay:
            if self.relayed is not None or self.case.answer is not None:
                answer = response_of(self.case.answer or {})
                self.outcome = outcome_of_relayed(self.route.target, answer.status, answer.headers)
                self.response = replace(answer, headers=passed_headers(answer.headers, _REQUEST_ID))
        elif self.case.answer is None:
            if self.accepted is not None and self.outcome is None:
                self.outcome = combine_outcomes(self.accepted, ())
        else:
            names = {"call_id": _CALL_ID, "given": self.route.target.given}
            self.classified = classify(self.route.target.send.outcome, response_of(self.case.answer), names)
            self.outcome = self.classified.outcome
            if self.case.request is not None or self.case.points is not None:
                outcomes = [(call.items, map_rejections(call, self.classified)) for call in self._planned()]
                self.outcome = combine_outcomes(self._accepted(), outcomes)

    def _outcome(self, expected: Mapping[str, Any]) -> Iterator[str]:
        if self.outcome is None:
            self.outcome = outcome_of(expected)
            self.names |= {name: expected[name] for name in ("recipe", "key", "request") if name in expected}
            return
        made = self.outcome.as_mapping()
        if self.classified is not None and self.accepted is None:  # the rejected items are in the answer's own words
            entries = [
                {"index": each.index, "same": each.same, "message": each.message} for each in self.classified.entries
            ]
            made |= {"rejected": entries, "poll": self.classified.poll}
        yield from differences(dict(expected), made, "outcome")

    def _reply(self, expected: Mapping[str, Any]) -> Iterator[str]:
        outcome = self.outcome or Outcome(Code.OK)
        if self.case.request is None and self.case.answer is not None:
            # There is no report: reply to one with a single data point.
            item = Item(0, None, DataPoint("metric", self.case.now_ns))
            outcome = combine_outcomes(AcceptedReport(ANONYMOUS, (item,)), [((item,), outcome)])
        outcome = replace(outcome, request_id=_REQUEST_ID)
        made = self.response or build_reply(self.route.source.receive.replies, outcome, self.names)
        yield from differences(dict(expected), response_parts(made), "reply")
