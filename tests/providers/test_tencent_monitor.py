"""What tencent-monitor makes of reports that are not as the page has them. Whole exchanges stand in its cases."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.proof.cases.run import Case, run_case
from tests.support.shipped import NOW_S, STAND_INS, changed, differences, left_out, told

HEADERS = {"content-type": "application/json", "x-tc-action": "PutMonitorData", "x-tc-version": "2018-07-24"}
COMMON = {"Action": "PutMonitorData", "Version": "2018-07-24"}
REPORT = {
    "Metrics": [{"MetricName": "disk", "Value": 30}, {"MetricName": "cpu", "Value": 5}],
    "AnnounceIp": "10.0.0.1",
    "AnnounceInstance": "ins-1",
    "AnnounceTimestamp": NOW_S,
}
OPTIONAL = ["AnnounceIp", "AnnounceInstance", "AnnounceTimestamp"]
REQUIRED = ["Metrics", "Metrics.MetricName", "Metrics.Value"]


def found(report: Any, reason: str | None) -> list[str]:
    return differences("tencent-monitor", request={"headers": HEADERS, "json": report}, outcome=told(reason))


@pytest.mark.parametrize("member", OPTIONAL)
def test_optional_members_of_a_report(member: str):
    assert found(left_out(REPORT, member), None) == []
    assert found(changed(REPORT, member, None), None) == []


@pytest.mark.parametrize("member", REQUIRED)
def test_required_members_of_a_report(member: str):
    assert found(left_out(REPORT, member), "MISSING_FIELD") == []
    assert found(changed(REPORT, member, None), "MISSING_FIELD") == []


@pytest.mark.parametrize("value", [{"a": "b"}, [1]], ids=["map", "list"])
@pytest.mark.parametrize("member", ["Metrics.MetricName", "Metrics.Value", *OPTIONAL])
def test_member_of_the_wrong_type_rejects_the_report(member: str, value: Any):
    assert found(changed(REPORT, member, value), "BAD_FIELD") == []


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(2**63 - 1, None, id="largest signed"),
        pytest.param(2**63, None, id="one more"),
        pytest.param(-1, None, id="negative"),
        pytest.param("30", None, id="text"),
        pytest.param(30.0, None, id="fraction of nothing"),
        pytest.param(0.5, "BAD_FIELD", id="fraction"),
        pytest.param("0.5", "BAD_FIELD", id="fraction as text"),
        pytest.param(True, "BAD_FIELD", id="truth value"),
        pytest.param("", "BAD_FIELD", id="empty text"),
        pytest.param("1e400", "BAD_FIELD", id="past a double"),
    ],
)
def test_a_value_is_an_integer(value: Any, reason: str | None):
    assert found(changed(REPORT, "Metrics.Value", value), reason) == []


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        pytest.param(NOW_S - 300, None, id="300 s old"),
        pytest.param(NOW_S - 301, "TOO_OLD", id="301 s old"),
        pytest.param(NOW_S - 31 * 86400, "TOO_OLD", id="31 days old"),
        pytest.param(0, "TOO_OLD", id="zero"),
        pytest.param(NOW_S + 5, None, id="5 s ahead"),
        pytest.param(NOW_S + 6, "BAD_FIELD", id="6 s ahead"),
        pytest.param(17_000_000_000, "BAD_FIELD", id="eleven digits"),
        pytest.param(NOW_S * 1000, "BAD_FIELD", id="milliseconds"),
        pytest.param(-1, "BAD_FIELD", id="negative"),
        pytest.param("soon", "BAD_FIELD", id="word"),
    ],
)
def test_time_is_within_the_last_300_seconds(time: Any, reason: str | None):
    assert found(changed(REPORT, "AnnounceTimestamp", time), reason) == []


def test_times_and_values_of_a_form_are_read_from_text():
    form = {**COMMON, "Metrics.0.MetricName": "m", "Metrics.0.Value": "0.5", "AnnounceTimestamp": str(NOW_S)}

    request = {"sign": "tencent-v1", "form": form}

    assert differences("tencent-monitor", request=request, outcome=told("BAD_FIELD")) == []


@pytest.mark.parametrize(("count", "sizes"), [(30, [30]), (31, [30, 1]), (61, [30, 30, 1])])
def test_a_call_holds_30_metrics(count: int, sizes: list[int]):
    points = [{"metric": f"m{at}", "value": at} for at in range(count)]

    sends = [{"json": {"Metrics": [{}] * size}} for size in sizes]

    assert differences("tencent-monitor", points=points, sends=sends) == []


def test_a_report_of_300_kib_goes_on_in_calls_of_30():
    metrics = [{"MetricName": f"m{at:0500}", "Value": at} for at in range(600)]

    request = {"headers": HEADERS, "json": {"Metrics": metrics}}

    sends = [{"json": {"Metrics": [{}] * 30}}] * 20
    assert differences("tencent-monitor", request=request, sends=sends, outcome={"accepted": 600}) == []


def test_a_credential_for_another_service_is_refused():
    route = STAND_INS["tencent-monitor"]
    route = replace(route, source=replace(route.source, given={"service": "cvm"}))

    case = Case("cvm", NOW_S * 10**9, {"headers": HEADERS, "json": REPORT}, outcome={"reason": "BAD_CREDENTIALS"})

    assert run_case(case, route) == []
