"""Runs a golden exchange: each part that a case states is held against what the stages make of the parts before it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gateway.core.http.received import ReceivedRequest
from gateway.core.http.request import Request, Response, Secret
from gateway.core.http.text import read_raw
from gateway.core.http.unsigned import UnsignedRequest
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
from gateway.core.points.report import AcceptedReport
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.session_tokens import issue_token
from gateway.core.recipe.sign import SigningContext, sign
from gateway.core.recipe.verify import NoReplayCheck, Verifier
from gateway.core.sending.encode import Call
from gateway.core.sending.sign import login_request, login_token
from gateway.core.sending.split import EncodeContext
from gateway.core.vendor.local_calls import RequestContext
from gateway.core.vendor.provider import RequestMatch
from gateway.core.vendor.relay import RelayedRequest, outcome_of_relayed, passed_headers
from gateway.core.vendor.route import Route
from gateway.core.vendor.routing import RouteMatch, make_snapshot
from gateway.proof.cases.differences import differences
from gateway.proof.cases.parts import (
    Mismatch,
    draft_parts,
    judged_parts,
    response_parts,
    stated_outcome,
    stated_response,
)

_ENTROPY = bytes(range(16))


@dataclass(frozen=True, slots=True)
class Case:
    """One golden exchange; its parts are plain data, None where not stated. `now_ns` is also the receive time."""

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
    """Return what differs from what the case states; empty when it passes."""
    try:
        return list(_Run(case, route).differences())
    except Mismatch as error:
        return [str(error)]


def case_request(case: Case, route: Route) -> Request:
    """Return the request of a case as bytes on the wire. Raises Mismatch."""
    if isinstance(case.request, str):
        try:
            return read_raw(case.request.encode())[0]
        except ValueError as error:
            raise Mismatch(f"request: {error}") from error
    parts = dict(case.request or {})
    needed = {name: name for name in route.source.provider.needs}
    stated = needed | dict(route.source.given) | dict(parts.get("given", {}))
    given = {name: str(value) for name, value in stated.items()}
    draft = _draft(parts, route.source.receive.requests[0], given)
    try:
        check = _check_for(draft, route, parts.get("sign"))
        if check is None:
            return draft.render()
        credential = _credential(check, case.now_ns)
        return sign(draft, check.recipe, credential, given, SigningContext(case.now_ns, _ENTROPY)).request
    except GatewayError as error:
        raise Mismatch(f"request: {error.outcome.message}") from error


def _draft(parts: Mapping[str, Any], form: RequestMatch, given: Mapping[str, str]) -> UnsignedRequest:
    fields = parts.get("form", {})
    kind: Any = next((kind for kind in ("json", "form", "text") if kind in parts), "none")
    return UnsignedRequest(
        method=parts.get("method", form.method),
        scheme="http",
        host=_header(parts, "host") or "gateway.example",
        path=parts.get("path") or re.sub(r"\{(\w+)\}", lambda place: given.get(place[1], place[1]), form.path),
        query=tuple(parts.get("query", {}).items()),
        headers=tuple((name, str(value)) for name, value in parts.get("headers", {}).items() if name.lower() != "host"),
        body_kind=kind,
        body=tuple(fields.items()) if kind == "form" else parts.get(kind),
    )


def _check_for(draft: UnsignedRequest, route: Route, recipe: str | None) -> Verifier | None:
    """Return the check of this recipe, or the first that the call has."""
    checks = _checks_for(draft, route) or ()
    if recipe is None:
        return next(iter(checks), None)
    for check in checks:
        if check.recipe.name == recipe:
            return check
    raise Mismatch(f"request: no recipe is named {recipe!r}")


def _checks_for(draft: UnsignedRequest, route: Route) -> tuple[Verifier, ...] | None:
    match = make_snapshot([route]).match(draft.render())
    if match is None or match.form is None or match.form.local_call is None:
        return route.source.checks
    return route.source.local_checks[match.form.name]


def _calling_by(route: Route, wanted: str) -> Route:
    """Return the route with another of its provider's requests on the sending side."""
    for form in route.target.send.requests:
        if form.name == wanted:
            return replace(route, target=replace(route.target, form=form))
    raise Mismatch(f"sends: no request is named {wanted!r}")


def _credential(check: Verifier, now_ns: int) -> Credential:
    """Return a credential that the check accepts: one of the route, or a session of an account. Raises Mismatch."""
    own = [Credential(secrets[0], key) for key, secrets in check.keyring.by_key.items()]
    own += [Credential(secret) for secret in check.keyring.by_digest.values()]
    if not own:
        accounts = [account for accounts in check.accounts.values() for account in accounts]
        token, _ = issue_token(accounts[0], now_ns=now_ns, lifetime_s=accounts[0].lifetime_s, entropy=_ENTROPY)
        return Credential(Secret(token))
    for slot in own[0].misfits(check.recipe):
        what = f"{check.recipe.name} takes only {slot.chars} for its slot {slot.name!r}"
        raise Mismatch(f"request: {what}, which excludes the credential of this case")
    return own[0]


def _header(parts: Mapping[str, Any], wanted: str) -> str | None:
    return next((value for name, value in parts.get("headers", {}).items() if name.lower() == wanted), None)


class _Run:
    """The state of one run: what the stages have made so far."""

    def __init__(self, case: Case, route: Route) -> None:
        wanted = case.sends[0].get("request") if case.sends else None
        self.case = case
        self.route = route if wanted is None else _calling_by(route, wanted)
        self.names: dict[str, Any] = {"body": None, "query": {}, "headers": {}, "given": dict(route.source.given)}
        self.names |= {"request": route.source.receive.requests[0].name, "recipe": None, "key": None}
        self.accepted: AcceptedReport | None = None
        self.relayed: RelayedRequest | None = None
        self.outcome: Outcome | None = None
        self.answered: Response | None = None
        self.judged: Classified | None = None
        self.calls: tuple[Call, ...] = ()

    def differences(self) -> Iterator[str]:
        case = self.case
        if case.request is not None:
            self._accept()
        if case.points is not None:
            yield from self._points(case.points)
        if case.login is not None:
            yield from self._login(case.login)
        if case.declares is not None:
            yield from self._declares(case.declares)
        if case.sends is not None:
            yield from self._sends(case.sends)
        self._judge()
        if case.outcome is not None:
            yield from self._outcome(case.outcome)
        if case.reply is not None:
            yield from self._reply(case.reply)

    def _accept(self) -> None:
        request = case_request(self.case, self.route)
        match = make_snapshot([self.route]).match(request)
        if match is None:
            raise Mismatch(f"request: no call of {self.route.name} has the path {request.path}")
        message = match.read(request)
        try:
            call = match.expect_call(request.method).local_call
            if call is not None:
                moment = RequestContext(self.case.now_ns, _ENTROPY, "0" * 32)
                self.answered = answer_local_call(match, call, message, moment, NoReplayCheck())
                self.outcome = Outcome(Code.OK)
                return
            if self.route.is_relay:
                now_ns, call_id = self.case.now_ns, _ENTROPY.hex()
                self.relayed = receive_relayed(match, message, now_ns=now_ns, call_id=call_id, replays=NoReplayCheck())
            else:
                self.accepted = receive_report(match, message, now_ns=self.case.now_ns, replays=NoReplayCheck())
            self._see(match, message, None)
        except GatewayError as error:
            self.outcome = error.outcome
            self._see(match, message, error)

    def _see(self, match: RouteMatch, message: ReceivedRequest, error: Exception | None) -> None:
        self.names |= reply_names(match, message, error)

    def _points(self, expected: list[dict[str, Any]]) -> Iterator[str]:
        if self.case.request is None:
            try:
                points = [read_point(fields, now_ns=self.case.now_ns) for fields in expected]
            except ValueError as error:
                raise Mismatch(f"points: {error}") from error
            items = tuple(Item(at, expected[at], point) for at, point in enumerate(points))
            self.accepted = AcceptedReport(ANONYMOUS, items)
            return
        made = [item.point.as_mapping() for item in self._accepted().items]
        yield from differences(expected, made, "points")

    def _login(self, expected: Mapping[str, Any]) -> Iterator[str]:
        """Compare the call that logs in to the target, before it is signed, and the token of its answer."""
        target = self.route.target
        if target.login is None:
            raise Mismatch(f"login: {self.route.name} does not log in to its target")
        try:
            draft = login_request(target, target.login, now_ns=self.case.now_ns, call_id=_ENTROPY.hex())
        except GatewayError as error:
            raise Mismatch(f"login: {error.outcome.message}") from error
        yield from differences(expected.get("sends", {}), draft_parts(draft), "login.sends")
        token = login_token(target.login, stated_response(expected.get("answer", {})))
        if "token" in expected:
            yield from differences(expected["token"], token, "login.token")

    def _declares(self, expected: list[dict[str, Any]]) -> Iterator[str]:
        calls = plan_declarations(self.route.target, self._encode(), self._encoder)
        try:
            made = [draft_parts(declaring.request) for _, before in calls for declaring in before]
        except GatewayError as error:
            raise Mismatch(f"declares: {error.outcome.message}") from error
        yield from differences(expected, made, "declares")

    def _sends(self, expected: list[dict[str, Any]]) -> Iterator[str]:
        named = {"request": self.route.target.form.name}
        yield from differences(expected, [named | draft_parts(draft) for draft in self._drafts()], "sends")

    def _drafts(self) -> list[UnsignedRequest]:
        if self.relayed is not None:
            return [self.relayed.request]
        self.calls = self._encode()
        return [call.request for call in self.calls]

    @property
    def _encoder(self) -> EncodeContext:
        return EncodeContext(self.case.now_ns, _ENTROPY.hex, lambda draft: len(draft.render().body))

    def _encode(self) -> tuple[Call, ...]:
        try:
            return plan_calls(self.route.target, self._accepted().items, self._encoder).calls
        except GatewayError as error:
            raise Mismatch(f"sends: {error.outcome.message}") from error

    def _accepted(self) -> AcceptedReport:
        if self.accepted is None:
            outcome = self.outcome or Outcome(Code.INTERNAL)
            raise Mismatch(f"request: refused, {outcome.reason}: {outcome.message}")
        return self.accepted

    def _judge(self) -> None:
        """Judge the answer, else take it that every call succeeds."""
        if self.route.is_relay:
            self._pass_on()
            return
        if self.case.answer is None:
            if self.accepted is not None and self.outcome is None:
                self.outcome = combine_outcomes(self.accepted, ())
            return
        names = {"call_id": _ENTROPY.hex(), "given": self.route.target.given}
        self.judged = classify(self.route.target.send.outcome, stated_response(self.case.answer), names)
        if self.case.request is not None or self.case.points is not None:
            calls = self.calls or self._encode()
            self.outcome = combine_outcomes(
                self._accepted(), [(call.items, map_rejections(call, self.judged)) for call in calls]
            )
        else:
            self.outcome = self.judged.outcome

    def _pass_on(self) -> None:
        """Pass on the answer; where none is stated, an empty one to a request that was not refused."""
        if self.relayed is not None or self.case.answer is not None:
            answer = stated_response(self.case.answer or {})
            self.outcome = outcome_of_relayed(self.route.target, answer.status, answer.headers)
            self.answered = replace(answer, headers=passed_headers(answer.headers, "0" * 32))

    def _outcome(self, expected: Mapping[str, Any]) -> Iterator[str]:
        if self.outcome is None:
            self.outcome = stated_outcome(expected)
            self.names |= {name: expected[name] for name in ("recipe", "key", "request") if name in expected}
            return
        told = judged_parts(self.judged) if self.judged and self.accepted is None else self.outcome.as_mapping()
        yield from differences(dict(expected), told, "outcome")

    def _reply(self, expected: Mapping[str, Any]) -> Iterator[str]:
        outcome = replace(self.outcome or Outcome(Code.OK), request_id="0" * 32)
        if self.case.request is None and self.case.answer is not None:
            # No report stands behind the answer: what a report of one data point would be told.
            lone = Item(0, None, DataPoint("metric", self.case.now_ns))
            outcome = replace(
                combine_outcomes(AcceptedReport(ANONYMOUS, (lone,)), [((lone,), outcome)]), request_id="0" * 32
            )
        made = self.answered or build_reply(self.route.source.receive.replies, outcome, self.names)
        yield from differences(dict(expected), response_parts(made), "reply")
