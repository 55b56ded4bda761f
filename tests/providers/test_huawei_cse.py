"""What huawei-cse makes of reports that are not as the page has them. Whole exchanges stand in its cases."""

from typing import Any

import pytest

from gateway.core.http.request import PublicUrl
from gateway.core.sending.encode import build_request
from tests.support.shipped import NOW_S, STAND_INS, changed, differences, left_out, told

REPORT = {
    "name": "order",
    "appId": "shop",
    "version": "1",
    "instance": "h",
    "instanceId": "i",
    "thread": 1,
    "cpu": 0.5,
    "memory": {"used": 1},
    "interfaces": [{"name": "GET /", "time": NOW_S * 1000, "qps": 1, "isCircuitBreakerOpen": False}],
}
TEXTS = ["name", "appId", "version", "instance", "instanceId", "interfaces.name"]
MEMBERS = [*TEXTS, "thread", "cpu", "memory", "interfaces", "interfaces.time", "interfaces.qps"]
LARGEST = 2**64 - 1


def found(report: Any, outcome: dict[str, Any]) -> list[str]:
    return differences("huawei-cse", request={"headers": {"x-domain-name": "d"}, "json": report}, outcome=outcome)


@pytest.mark.parametrize("member", MEMBERS)
def test_every_member_may_be_left_out(member: str):
    assert found(left_out(REPORT, member), told(None)) == []


@pytest.mark.parametrize("member", MEMBERS)
def test_every_member_may_be_null(member: str):
    assert found(changed(REPORT, member, None), told(None)) == []


@pytest.mark.parametrize("value", [{"a": "b"}, ["a"]], ids=["map", "list"])
@pytest.mark.parametrize("member", [*TEXTS, "interfaces.qps", "interfaces.time"])
def test_member_of_the_wrong_type_rejects_the_report(member: str, value: Any):
    assert found(changed(REPORT, member, value), told("BAD_FIELD")) == []


@pytest.mark.parametrize("value", ["string", True, [1]], ids=["word", "truth value", "list"])
@pytest.mark.parametrize("member", ["thread", "cpu"])
def test_values_that_are_not_service_numbers_are_omitted(member: str, value: Any):
    assert found(changed(REPORT, member, value), {"code": "OK", "accepted": 4}) == []


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(2**63 - 1, None, id="largest signed"),
        pytest.param(2**63, None, id="one more"),
        pytest.param(LARGEST, None, id="largest"),
        pytest.param(-(2**63), None, id="smallest"),
        pytest.param("1e400", "BAD_FIELD", id="past a double"),
        pytest.param("NaN", "BAD_FIELD", id="not a number"),
        pytest.param("0x10", "BAD_FIELD", id="hexadecimal"),
        pytest.param("", "BAD_FIELD", id="empty text"),
    ],
)
def test_number_within_64_bits_is_accepted(value: Any, reason: str | None):
    assert found(changed(REPORT, "interfaces.qps", value), told(reason)) == []


@pytest.mark.parametrize(
    "time",
    [
        pytest.param(NOW_S, id="seconds, which are of 1970"),
        pytest.param(17_000_000_000, id="eleven digits"),
        pytest.param((NOW_S + 3600) * 1000, id="in the future"),
        pytest.param((NOW_S - 31 * 86400) * 1000, id="31 days old"),
    ],
)
def test_times_are_not_limited(time: int):
    report = changed(REPORT, "interfaces.time", time)

    points: list[Any] = [{}, {}, {}, {"metric": "qps", "time_ns": time * 1_000_000}, {}]
    assert differences("huawei-cse", request={"headers": {"x-domain-name": "d"}, "json": report}, points=points) == []


def test_report_of_300_kib_is_accepted():
    interfaces = [{"name": f"GET /{at:0500}", "qps": at} for at in range(600)]

    assert found({"name": "order", "interfaces": interfaces}, {"code": "OK", "accepted": 600}) == []


def test_logging_in_names_domain_and_project():
    login = STAND_INS["huawei-cse"].target.send.login
    assert login is not None

    draft = build_request(login.form, PublicUrl("https", "iam"), {"given": {"domain_name": "d", "project_id": "p"}})

    identity = {"methods": ["password"], "password": {"user": {"domain": {"name": "d"}}}}
    assert draft.body == {"auth": {"identity": identity, "scope": {"project": {"id": "p"}}}}
    assert login.token({"headers": {"x_subject_token": "t"}, "body": None}) == "t"
