from dataclasses import replace
from typing import Any

import pytest

from gateway.core.context import AcceptedReport, RequestContext
from gateway.core.expression import Compiler
from gateway.core.http.json import write_json
from gateway.core.http.received import ReceivedRequest
from gateway.core.http.request import Request
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.core.pipeline import ANONYMOUS, receive_report, receive_report_steps, reply_names
from gateway.core.points.point import DataPoint
from gateway.core.points.rules import Rule
from gateway.core.recipe.verify import VerificationFailed
from gateway.core.vendor.route import PointChanges, Route
from gateway.core.vendor.routing import RouteMatch, make_snapshot
from tests.support.specs import stand_in

NOW = 1_700_000_000_000_000_000
ACME = """
provider: acme
given: {zone: a}
receive:
  requests:
    post: {method: POST, path: "/{project}/metrics", body: json, input: body.report}
    get: {method: GET, path: /metrics, input: "{items: [query]}"}
  verify: [session]
  reject_report: [{when: "given.zone != 'a'", reason: NOT_ALLOWED, text: wrong zone}]
  each: {item: body.items}
  point: {namespace: "item.ns || given.project", metric: item.m, value: item.v}
  on_bad_item: reject_report
send: {item: metric, request: {method: POST, path: "/{given.zone}"}}
"""
KNOWN = ("Authorization", "case-secret")


class Unseen:
    def remember(self, once: tuple[str, ...], until_ns: int, *, owner: str = "") -> bool:
        return True


def changes(keep: str | None = None, **fields: str) -> PointChanges:
    compiler = Compiler()
    return PointChanges(
        None if keep is None else compiler.expression(keep, None, ()),
        tuple(compiler.members(fields, None, ()).items()),
    )


def matched(route: Route, request: Request) -> tuple[RouteMatch, ReceivedRequest]:
    match = make_snapshot([route]).match(request)
    assert match is not None
    return match, ReceivedRequest(request, match.form.body if match.form else "none")


def accepted(*items: Any, route: Route | None = None, **more: Any) -> AcceptedReport:
    body = write_json({"report": {"items": list(items)} | more})
    match, message = matched(route or stand_in(ACME), Request("POST", "/p1/metrics", (KNOWN,), body))
    return receive_report(match, message, RequestContext(NOW, Unseen()))


def test_report_becomes_data_points_with_a_verified_caller():
    result = accepted({"m": "cpu", "v": 1}, {"m": "mem", "v": 2, "ns": "n"})

    assert (result.caller.recipe, result.caller.key, result.caller.slots) == ("session", None, {})
    assert [item.point for item in result.items] == [
        DataPoint("cpu", NOW, "p1", 1),
        DataPoint("mem", NOW, "n", 2),
    ]


@pytest.mark.parametrize(("items", "steps"), [(1, 0), (64, 0), (65, 2), (200, 6)])
def test_only_a_report_of_many_items_takes_steps(items: int, steps: int):
    body = write_json({"report": {"items": [{"m": "cpu", "v": 1}] * items}})
    match, message = matched(stand_in(ACME), Request("POST", "/p1/metrics", (KNOWN,), body))

    assert len(list(receive_report_steps(match, message, RequestContext(NOW, Unseen())))) == steps


def test_input_expression_replaces_the_body():
    match, message = matched(stand_in(ACME), Request("GET", "/metrics?m=cpu&v=1", (KNOWN,)))

    assert receive_report(match, message, RequestContext(NOW, Unseen())).items[0].point.value == 1


def test_unverified_report_is_not_parsed():
    match, message = matched(stand_in(ACME), Request("POST", "/p/metrics", (), b"{"))

    with pytest.raises(CallerError, match="MISSING_CREDENTIALS: the header Authorization is missing"):
        receive_report(match, message, RequestContext(NOW, Unseen()))


def test_route_without_credentials_accepts_any_caller():
    route = stand_in(ACME)
    open_route = replace(route, source=replace(route.source, verifiers=None))
    match, message = matched(open_route, Request("GET", "/metrics?m=cpu&v=1"))

    assert receive_report(match, message, RequestContext(NOW, Unseen())).caller == ANONYMOUS


def test_route_without_usable_credentials_rejects_every_caller():
    route = stand_in(ACME)
    closed_route = replace(route, source=replace(route.source, verifiers=()))
    match, message = matched(closed_route, Request("GET", "/metrics?m=cpu&v=1"))

    with pytest.raises(CallerError):
        receive_report(match, message, RequestContext(NOW, Unseen()))


@pytest.mark.parametrize(
    ("more", "read", "count"),
    [
        pytest.param({}, "item.m", 0, id="nothing unknown"),
        pytest.param({"tags": [], "note": "x"}, "item.m", 2, id="two members of the body"),
        pytest.param(
            {"items": [{"m": "a", "v": 1, "w": 2}, 5, {"m": "b", "v": 1, "w": 2}]}, "item.m", 2, id="of items"
        ),
        pytest.param({"items": [{"m": "a", "v": 1, "w": 2}]}, "item.m || to_json(item)", 0, id="item read as a whole"),
    ],
)
def test_unread_members_are_counted(more: dict[str, Any], read: str, count: int):
    route = stand_in(
        ACME.replace("item.m,", f"{read},").replace("on_bad_item: reject_report", "on_bad_item: reject_item")
    )

    assert accepted({"m": "a", "v": 1}, route=route, **more).ignored == count


def test_reject_report_is_applied_before_items_are_decoded():
    route = stand_in(ACME)
    route = replace(route, source=replace(route.source, given={"zone": "b"}))

    with pytest.raises(CallerError, match="NOT_ALLOWED: wrong zone"):
        accepted(route=route)


def test_on_bad_item_reject_report_rejects_the_whole_report():
    with pytest.raises(CallerError) as caught:
        accepted({"m": "cpu", "v": 1}, {"m": "cpu"})

    assert caught.value.outcome.message == "item 1: v is missing"
    assert [each.index for each in caught.value.outcome.rejected] == [1]


def test_on_bad_item_reject_item_rejects_only_that_item():
    result = accepted({"m": "cpu"}, {"m": "cpu", "v": 1}, route=stand_in(ACME.replace("reject_report", "reject_item")))

    assert [item.index for item in result.items] == [1]
    assert [(each.index, each.reason) for each in result.rejected] == [(0, Reason.MISSING_FIELD)]


def test_report_with_only_bad_items_is_rejected():
    with pytest.raises(CallerError, match="item 0: v is missing"):
        accepted({"m": "cpu"}, route=stand_in(ACME.replace("reject_report", "reject_item")))


@pytest.mark.parametrize(
    ("rule", "fields", "reason", "message"),
    [
        (Rule("unit", required=True), {}, Reason.CANNOT_HOLD, "the target cannot hold it: unit is missing"),
        (Rule("value", max=5), {"v": 9}, Reason.CANNOT_HOLD, "the target cannot hold it: value 9 is more than 5"),
    ],
    ids=["missing", "broken"],
)
def test_point_that_violates_a_target_rule_is_rejected(
    rule: Rule, fields: dict[str, Any], reason: Reason, message: str
):
    route = stand_in(ACME)
    route = replace(route, target=replace(route.target, rules=(rule,)))

    with pytest.raises(CallerError) as caught:
        accepted({"m": "cpu", "v": 1} | fields, route=route)

    assert caught.value.outcome.reason is reason
    assert caught.value.outcome.message == f"item 0: {message}"


def test_point_too_old_for_the_target_is_rejected_as_too_old():
    route = replace(stand_in(ACME), points=changes(time_ns="`0`"))
    route = replace(route, target=replace(route.target, rules=(Rule("time_ns", max_age_s=60),)))

    with pytest.raises(CallerError, match="TOO_OLD: item 0: the target cannot hold it: the data point is"):
        accepted({"m": "cpu", "v": 1}, route=route)


def test_source_rules_run_before_route_changes_and_target_rules_after():
    route = replace(stand_in(ACME), points=changes(metric="'renamed'"))
    source = replace(route.source, rules=(Rule("metric", max_chars=3),))
    target = replace(route.target, rules=(Rule("metric", max_chars=5),))

    with pytest.raises(CallerError, match="the target cannot hold it: metric is longer than 5"):
        accepted({"m": "cpu", "v": 1}, route=replace(route, source=source, target=target))


def test_dropped_points_are_counted_and_reject_nothing():
    route = replace(stand_in(ACME), points=changes(keep="metric != 'debug'"))
    route = replace(route, target=replace(route.target, rules=(Rule("value", max=5, else_="drop"),)))

    result = accepted({"m": "cpu", "v": 1}, {"m": "debug", "v": 1}, {"m": "cpu", "v": 9}, route=route)

    assert [item.index for item in result.items] == [0]
    assert (result.dropped, result.rejected) == (2, ())


def spreading(*rules: Rule, wanted: str | None = None) -> Route:
    route = stand_in(ACME.replace("value: item.v", "value: item.v, stats: item.s"))
    target = replace(route.target, holds_stats=frozenset(), rules=rules)
    return replace(route, points=PointChanges(stats=wanted), target=target)


def test_unsupported_statistics_become_separate_points():
    result = accepted({"m": "cpu", "s": {"min": 1, "max": 2}}, {"m": "mem", "v": 3}, route=spreading())

    made = [(item.index, item.point.metric, item.point.value) for item in result.items]
    assert made == [(0, "cpu.min", 1), (0, "cpu.max", 2), (1, "mem", 3)]


def test_selected_statistic_becomes_the_value():
    result = accepted({"m": "cpu", "s": {"min": 1, "max": 2}}, route=spreading(wanted="max"))

    assert [(item.point.metric, item.point.value) for item in result.items] == [("cpu", 2)]


def test_item_is_rejected_if_the_target_cannot_hold_one_of_its_points():
    route = spreading(Rule("value", max=1))

    with pytest.raises(CallerError, match="CANNOT_HOLD: item 0: the target cannot hold it: value 2 is more than 1"):
        accepted({"m": "cpu", "s": {"min": 1, "max": 2}}, route=route)


def test_item_counts_as_dropped_only_if_all_its_points_are():
    route = spreading(Rule("value", max=1, else_="drop"))

    result = accepted({"m": "cpu", "s": {"min": 1, "max": 2}}, {"m": "mem", "s": {"max": 2}}, route=route)

    assert ([item.point.metric for item in result.items], result.dropped) == (["cpu.min"], 1)


def test_all_items_of_a_report_may_be_dropped():
    result = accepted({"m": "cpu", "v": 1}, route=replace(stand_in(ACME), points=changes(keep="`false`")))

    assert (result.items, result.dropped) == ((), 1)


@pytest.mark.parametrize(
    ("method", "target", "request_", "body"),
    [
        pytest.param("POST", "/p/metrics", "post", None, id="readable"),
        pytest.param("GET", "/metrics?a=%ff", "get", None, id="unreadable query"),
        pytest.param("PUT", "/p/metrics", None, None, id="wrong method"),
    ],
)
def test_reply_reads_only_parsed_parts_of_the_request(method: str, target: str, request_: str | None, body: Any):
    match, message = matched(stand_in(ACME), Request(method, target, (("X-A", "b"),), b'{"report": {"m": 1}}'))

    names = reply_names(match, message, VerificationFailed(Reason.STALE, "old", "session", "k1"))

    assert names["headers"] == {"x_a": "b"}
    assert (names["request"], names["recipe"], names["key"], names["body"]) == (request_, "session", "k1", body)
    assert names["given"]["zone"] == "a"


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        pytest.param("headers.x_a == '1'", {"x_a": "1, 2"}, id="one"),
        pytest.param("headers.x_b || headers.x_c", {"x_c": "3"}, id="one of two"),
        pytest.param(r"headers.\"x-a\"", {}, id="no name of an expression"),
        pytest.param("body.x_a", {}, id="none"),
        pytest.param("contains(keys(headers), 'y')", {"x_a": "1, 2", "x_c": "3", "authorization": KNOWN[1]}, id="any"),
    ],
)
def test_names_have_the_headers_that_expressions_read(expression: str, named: dict[str, str]):
    route = stand_in(ACME.replace("given.zone != 'a'", f"!({expression}) && `false`"))
    headers = (KNOWN, ("X-A", "1"), ("x-a", "2"), ("X-C", "3"), ("X_A", "4"))
    match, message = matched(
        route, Request("POST", "/p1/metrics", headers, b'{"report": {"items": [{"m": "a", "v": 1}]}}')
    )

    assert receive_report(match, message, RequestContext(NOW, Unseen())).names["headers"] == named
