"""What tencent-receiver makes of reports that are not as the page has them. Whole exchanges stand in its cases."""

from typing import Any

import pytest

from tests.support.shipped import changed, differences, left_out

REPORT = {"Namespace": "n", "Data": [{"dimensions": {"ip": "10.0.0.1"}, "metricName": "m", "value": 1}]}
REQUIRED = ["Namespace", "Data", "Data.dimensions", "Data.metricName", "Data.value"]


def found(report: Any, code: int) -> list[str]:
    return differences("tencent-receiver", request={"json": report}, reply={"status": 200, "json": {"code": code}})


@pytest.mark.parametrize("member", REQUIRED)
def test_required_members_of_a_report(member: str):
    assert found(left_out(REPORT, member), 1009) == []
    assert found(changed(REPORT, member, None), 1009) == []


@pytest.mark.parametrize(
    ("member", "value"),
    [
        pytest.param("Namespace", 1, id="a number as Namespace"),
        pytest.param("Namespace", {}, id="a map as Namespace"),
        pytest.param("Data", "m", id="text as Data"),
        pytest.param("Data", {}, id="a map as Data"),
        pytest.param("Data.metricName", 1, id="a number as metricName"),
        pytest.param("Data.value", "many", id="a word as value"),
        pytest.param("Data.value", False, id="a truth value as value"),
        pytest.param("Data.value", {"a": 1}, id="a map as value"),
        pytest.param("Data.dimensions", "ip", id="text as dimensions"),
        pytest.param("Data.dimensions", ["ip"], id="a list of text as dimensions"),
        pytest.param("Data.dimensions", {"ip": ["10.0.0.1"]}, id="a list as a dimension"),
    ],
)
def test_member_of_the_wrong_type_has_its_own_code(member: str, value: Any):
    assert found(changed(REPORT, member, value), 1010) == []


@pytest.mark.parametrize(
    ("value", "code"),
    [
        pytest.param(2**63 - 1, 0, id="largest signed"),
        pytest.param(2**63, 0, id="one more"),
        pytest.param("18446744073709551616", 1013, id="past 64 bits"),
        pytest.param("-0.5e-3", 0, id="text"),
    ],
)
def test_a_value_is_a_number_within_64_bits(value: Any, code: int):
    assert found(changed(REPORT, "Data.value", value), code) == []


@pytest.mark.parametrize("body", [[], [REPORT], "text", 7, None], ids=["empty list", "list", "text", "number", "null"])
def test_body_that_is_not_a_map_has_no_credentials(body: Any):
    raw = f"POST /v2/index.php HTTP/1.1\nHost: h\n\n{body!r}".replace("'", '"').replace("None", "null")

    assert differences("tencent-receiver", request=raw, reply={"json": {"code": 1009}}) == []


def test_report_of_300_kib_is_accepted():
    data = [{"dimensions": {"ip": "0" * 500}, "metricName": "m", "value": at} for at in range(600)]

    assert found({"Namespace": "n", "Data": data}, 0) == []
