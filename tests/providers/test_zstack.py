"""What zstack makes of reports that are not as the guide has them. Whole exchanges stand in its cases."""

from typing import Any

import pytest

from tests.support.shipped import NOW_S, changed, differences, left_out, told

REPORT = {"params": {"namespace": "n", "data": [{"metricName": "m", "value": 1, "labels": {"a": "b"}}]}}
DATA = "params.data"
REQUIRED = ["params", "params.namespace", DATA, f"{DATA}.metricName", f"{DATA}.value"]


def found(report: Any, reason: str | None, **more: Any) -> list[str]:
    """Return what differs from a report that is taken, or refused for this reason as an invalid argument."""
    reply = {"status": 503, "json": {"error": {"code": "SYS.1007"}}} if reason else {"status": 200, "json": {}}
    return differences("zstack", request={"json": report}, outcome=told(reason), reply=reply, **more)


@pytest.mark.parametrize("member", REQUIRED)
def test_required_members_of_a_report(member: str):
    assert found(left_out(REPORT, member), "MISSING_FIELD") == []
    assert found(changed(REPORT, member, None), "MISSING_FIELD") == []


@pytest.mark.parametrize("member", ["labels", "time"])
def test_optional_members_of_a_datum(member: str):
    assert found(left_out(REPORT, f"{DATA}.{member}"), None) == []
    assert found(changed(REPORT, f"{DATA}.{member}", None), None) == []


@pytest.mark.parametrize(
    ("member", "value"),
    [
        pytest.param("params.namespace", 1, id="a number as namespace"),
        pytest.param("params.namespace", "n" * 256, id="namespace of 256 characters"),
        pytest.param("params.namespace", "ZStack/VM", id="reserved namespace"),
        pytest.param(DATA, {}, id="a map as data"),
        pytest.param(DATA, "m", id="text as data"),
        pytest.param(f"{DATA}.metricName", 1, id="a number as metricName"),
        pytest.param(f"{DATA}.value", "many", id="a word as value"),
        pytest.param(f"{DATA}.value", True, id="a truth value as value"),
        pytest.param(f"{DATA}.value", {"a": 1}, id="a map as value"),
        pytest.param(f"{DATA}.labels", ["a"], id="a list of text as labels"),
        pytest.param(f"{DATA}.labels", {"a": {}}, id="a map as a label"),
        pytest.param(f"{DATA}.time", "noon", id="a word as time"),
        pytest.param(f"{DATA}.time", -1, id="a time before 1970"),
        pytest.param(f"{DATA}.time", 2**63, id="a time past 2262"),
    ],
)
def test_invalid_member_rejects_the_report(member: str, value: Any):
    assert found(changed(REPORT, member, value), "BAD_FIELD") == []


def test_empty_name_is_missing():
    assert found(changed(REPORT, f"{DATA}.metricName", ""), "MISSING_FIELD") == []


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(2**63 - 1, None, id="largest signed"),
        pytest.param(2**63, None, id="one more"),
        pytest.param("18446744073709551616", "BAD_FIELD", id="past 64 bits"),
        pytest.param("NaN", "BAD_FIELD", id="not a number"),
        pytest.param("-0.5e-3", None, id="text"),
    ],
)
def test_a_value_is_a_number_within_64_bits(value: Any, reason: str | None):
    assert found(changed(REPORT, f"{DATA}.value", value), reason) == []


@pytest.mark.parametrize(
    ("time", "time_ns"),
    [
        pytest.param(1_700_000_000_123, 1_700_000_000_123_000_000, id="milliseconds"),
        pytest.param("1700000000123", 1_700_000_000_123_000_000, id="text"),
        pytest.param(17_000_000_001, 17_000_000_001_000_000, id="11 digits, which are milliseconds too"),
        pytest.param((NOW_S - 31 * 86_400) * 1000, (NOW_S - 31 * 86_400) * 10**9, id="31 days old"),
        pytest.param((NOW_S + 3600) * 1000, (NOW_S + 3600) * 10**9, id="an hour ahead"),
        pytest.param(None, NOW_S * 10**9, id="none, which is now"),
    ],
)
def test_time_is_forwarded_unchanged(time: Any, time_ns: int):
    points = [{"metric": "m", "time_ns": time_ns}]

    assert found(changed(REPORT, f"{DATA}.time", time), None, points=points) == []


@pytest.mark.parametrize("body", [[], "text", 7], ids=["list", "text", "number"])
def test_body_that_is_not_a_map_lacks_its_data(body: Any):
    assert found(body, "MISSING_FIELD") == []


def test_repeated_datum_is_forwarded_twice():
    report = changed(REPORT, DATA, REPORT["params"]["data"] * 2)  # type: ignore[operator]  # a list
    points = [{"namespace": "n", "metric": "m", "value": 1, "attributes": {"a": "b"}}] * 2

    assert found(report, None, points=points) == []


def test_report_of_300_kib_is_accepted():
    data = [{"metricName": "m", "value": at, "labels": {"a": "0" * 500}} for at in range(600)]

    assert found({"params": {"namespace": "n", "data": data}}, None) == []


def test_unknown_members_are_ignored():
    report = changed(changed(REPORT, "systemTags", []), f"{DATA}.colour", "red")

    assert found(report, None, points=[{"metric": "m"}]) == []
