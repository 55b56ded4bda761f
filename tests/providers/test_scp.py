"""What Samsung's provider takes and refuses, value by value, and that a unit comes back as it went in."""

from typing import Any

import pytest

from gateway.core.http.request import Response
from gateway.core.outcome.classify import classify
from gateway.core.outcome.outcome import Code
from tests.support.shipped import STAND_INS, differences

NS = 1_000_000_000
NOW_NS = 1_700_000_000 * NS
TARGET = STAND_INS["scp"].target
UNITS = TARGET.given["units"]
POINT = {"as_int": 1, "time_unix_nano": NOW_NS, "attributes": [{"key": "h", "value": {"string_value": "a"}}]}


def tree(data_points: Any, **metric: Any) -> dict[str, Any]:
    """Return a report of one metric; what is `...` is left out."""
    named = {"name": "m", "unit": "By", "gauge": {"data_points": data_points}} | metric
    return {
        "resource_metrics": [
            {
                "resource": {"attributes": [{"key": "namespace", "value": {"string_value": "n"}}]},
                "scope_metrics": [{"scope": {"name": "s"}, "metrics": [without(named)]}],
            }
        ]
    }


def without(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not ...}


def data_point(**changes: Any) -> dict[str, Any]:
    return without(POINT | changes)


def attribute(**value: Any) -> dict[str, Any]:
    return {"attributes": [{"key": "h", "value": value}]}


def mistakes(body: Any, **expected: Any) -> list[str]:
    return differences("scp", request={"json": body}, **expected)


@pytest.mark.parametrize(
    ("changes", "made"),
    [
        pytest.param({"flags": 0, "exemplars": []}, {"value": 1}, id="members that nobody knows"),
        pytest.param({"as_int": "-9223372036854775808"}, {"value": -(2**63)}, id="an integer as text"),
        pytest.param({"as_int": 2**63 - 1}, {"value": 2**63 - 1}, id="the largest integer"),
        pytest.param({"as_int": 0}, {"value": 0}, id="zero"),
        pytest.param({"as_int": ..., "as_double": 1e300}, {"value": 1e300}, id="a large double"),
        pytest.param({"as_int": None, "as_double": "1e-3"}, {"value": 0.001}, id="null is not there"),
        pytest.param({"time_unix_nano": str(NOW_NS + 1)}, {"time_ns": NOW_NS + 1}, id="the time as text"),
        pytest.param({"time_unix_nano": 2 * NOW_NS}, {"time_ns": 2 * NOW_NS}, id="a time ahead"),
        pytest.param({"time_unix_nano": 31 * 86_400 * NS}, {"time_ns": 31 * 86_400 * NS}, id="a time long ago"),
        pytest.param({"attributes": ...}, {"attributes": {"h": None}}, id="no attributes"),
        pytest.param({"attributes": []}, {"attributes": {"h": None}}, id="none of them"),
        pytest.param(attribute(string_value=""), {"attributes": {"h": ""}}, id="an empty text"),
        pytest.param(attribute(bool_value=False), {"attributes": {"h": "false"}}, id="false"),
        pytest.param(attribute(int_value=2**63 - 1), {"attributes": {"h": "9223372036854775807"}}, id="an integer"),
        pytest.param(attribute(array_value={"values": []}), {"attributes": {"h": '{"values":[]}'}}, id="a list"),
    ],
)
def test_data_point_is_accepted(changes: dict[str, Any], made: dict[str, Any]):
    assert mistakes(tree([data_point(**changes)]), points=[made], outcome={"code": "OK"}) == []


@pytest.mark.parametrize(
    ("changes", "reason", "message"),
    [
        ({"as_int": ...}, "MISSING_FIELD", "value is missing"),
        ({"as_int": None}, "MISSING_FIELD", "value is missing"),
        ({"as_int": "x"}, "BAD_FIELD", "value: 'x' is not a number"),
        ({"as_int": True}, "BAD_FIELD", "value: true is not a finite number"),
        ({"as_int": [1]}, "BAD_FIELD", "value: a list is not a finite number"),
        ({"as_int": 2**64}, "BAD_FIELD", "value: 18446744073709551616 is not between -2^63 and 2^64-1"),
        ({"as_int": ..., "as_double": "NaN"}, "BAD_FIELD", "value: 'NaN' is not a number"),
        ({"as_double": 1.5}, "BAD_FIELD", "as_int and as_double exclude each other"),
        ({"time_unix_nano": ...}, "MISSING_FIELD", "time_unix_nano is missing"),
        ({"time_unix_nano": None}, "MISSING_FIELD", "time_unix_nano is missing"),
        ({"time_unix_nano": "now"}, "BAD_FIELD", "time_ns: 'now' is not a number"),
        ({"time_unix_nano": {}}, "BAD_FIELD", "time_ns: a map is not a time"),
        ({"time_unix_nano": -1}, "BAD_FIELD", "time_ns: -1 ns is not between 1970 and 2262"),
        ({"time_unix_nano": 2**63}, "BAD_FIELD", f"time_ns: {2**63} ns is not between 1970 and 2262"),
        ({"attributes": {"h": "a"}}, "BAD_FIELD", "attributes must be a list of keys and values"),
        ({"attributes": ["h"]}, "BAD_FIELD", "attributes: not a list of names and values"),
        ({"attributes": [{"value": {"string_value": "a"}}]}, "BAD_FIELD", "attributes: not a list of names and values"),
        (
            {"attributes": [{"key": "h", "value": "a"}]},
            "BAD_FIELD",
            "the value of an attribute is a map, such as {string_value: ...}",
        ),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, dict) else "",
)
def test_bad_data_point_rejects_the_report_and_is_named(changes: dict[str, Any], reason: str, message: str):
    outcome = {"reason": reason, "message": f"item 1: {message}", "rejected": [{"index": 1}]}
    reply = {"status": 400, "json": {"errors": [{"detail": f"item 1: {message}", "code": reason}]}}

    assert mistakes(tree([data_point(), data_point(**changes)]), outcome=outcome, reply=reply) == []


@pytest.mark.parametrize(
    ("body", "reason", "message"),
    [
        pytest.param(5, "MISSING_FIELD", "resource_metrics is missing", id="a number"),
        pytest.param([], "MISSING_FIELD", "resource_metrics is missing", id="a list"),
        pytest.param({"resource_metrics": None}, "MISSING_FIELD", "resource_metrics is missing", id="null"),
        pytest.param({"resource_metrics": []}, "MISSING_FIELD", "resource_metrics is empty", id="an empty list"),
        pytest.param(
            {"resource_metrics": [{"scope_metrics": {}}]}, "BAD_FIELD", "the list of items is not a list", id="a map"
        ),
        pytest.param(tree([]), "MISSING_FIELD", "resource_metrics is empty", id="no data points"),
        pytest.param(tree({}), "BAD_FIELD", "the list of items is not a list", id="data points in a map"),
        pytest.param(
            tree([POINT], gauge=..., histogram={}),
            "MISSING_FIELD",
            "data_points is missing, under gauge or under sum",
            id="a histogram",
        ),
        pytest.param(
            tree([POINT], gauge={"points": [POINT]}),
            "MISSING_FIELD",
            "data_points is missing, under gauge or under sum",
            id="data points by another name",
        ),
        pytest.param(tree([POINT], name=...), "MISSING_FIELD", "item 0: metric is missing", id="no name"),
        pytest.param(tree([POINT], name=None), "MISSING_FIELD", "item 0: metric is missing", id="name null"),
        pytest.param(tree([POINT], name=5), "BAD_FIELD", "item 0: metric: 5 is not text", id="a number for a name"),
        pytest.param(tree([POINT], unit=5), "BAD_FIELD", "item 0: unit: 5 is not text", id="a number for a unit"),
    ],
)
def test_bad_report_is_rejected(body: Any, reason: str, message: str):
    assert mistakes(body, outcome={"reason": reason, "message": message}, reply={"status": 400}) == []


@pytest.mark.parametrize(
    ("written", "unit", "word"),
    [(form, unit, word) for unit, word in UNITS.items() for form in (word, word.capitalize(), unit)],
)
def test_unit_is_translated_in_both_directions(written: str, unit: str, word: str):
    sent = {"json": {"resource_metrics": [{"scope_metrics": [{"metrics": [{"unit": word}]}]}]}}

    assert mistakes(tree([POINT], unit=written), points=[{"unit": unit}], sends=[sent]) == []


def test_units_with_one_vendor_name_are_one_unit():
    assert len(set(UNITS.values())) == len(UNITS)


def test_many_points_of_a_namespace_are_one_call():
    sent = {"json": {"resource_metrics": [{"scope_metrics": [{"metrics": [{}] * 500}]}]}}

    assert mistakes(tree([POINT] * 500), sends=[sent], outcome={"code": "OK", "accepted": 500}) == []


@pytest.mark.parametrize(
    ("status", "body", "code", "message"),
    [
        pytest.param(200, b'{"account_id": "a", "unit_logs": []}', Code.OK, "", id="declared"),
        pytest.param(409, b"", Code.OK, "", id="known already"),
        pytest.param(202, b"", Code.INTERNAL, "the answer was not understood (status 202)", id="another success"),
        pytest.param(400, b'{"errors": [{"detail": "no"}]}', Code.INVALID_ARGUMENT, "no", id="refused"),
        pytest.param(401, b'{"message": "no"}', Code.UNAUTHENTICATED, "no", id="not authenticated"),
        pytest.param(503, b"", Code.UNAVAILABLE, "the upstream answered with status 503", id="unavailable"),
    ],
)
def test_declaration_answer_is_classified(status: int, body: bytes, code: Code, message: str):
    declare = TARGET.send.declare
    assert declare is not None

    outcome = classify(declare.outcome, Response(status, (), body), {"call_id": "", "given": {}}).outcome

    assert (outcome.code, outcome.message) == (code, message)
