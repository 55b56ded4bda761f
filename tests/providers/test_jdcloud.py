"""What JD Cloud's provider takes and refuses, value by value, and how it splits what it sends."""

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from gateway.core.http.json import write_json
from gateway.core.pipeline import plan_calls
from gateway.core.points.decode import Item
from gateway.core.points.point import DataPoint
from gateway.core.sending.encode import EncodeContext, Encoded
from gateway.proof.cases.run import Case, run_case
from gateway.specs.load import load
from tests.support.shipped import STAND_INS, differences

NS = 1_000_000_000
NOW_NS = 1_700_000_000 * NS
ROUTE = STAND_INS["jdcloud"]
ITEM = {
    "namespace": "n",
    "metric": "m",
    "dimensions": {"host": "h"},
    "timestamp": 1_700_000_000,
    "type": 1,
    "values": {"value": 1},
    "unit": "%",
}
MAX = 9_223_372_036_854_775_807
OWN_RULES = """
route: jdcloud-to-jdcloud
receive:
  provider: jdcloud
  credentials: [{key: k, secret: s3cret}]
  rules: {attributes: {max: 6, max_bytes: 1024, pattern: "[0-9A-Za-z_.]+"}}
send:
  provider: jdcloud
  credential: {key: k, secret: s3cret}
  given: {region: cn-north-1}
  rules: {attributes: {max: 6, max_bytes: 1024}}
"""


def item(**changes: Any) -> dict[str, Any]:
    """Return an item that JD Cloud takes, with changes; what is `...` is left out."""
    return {name: value for name, value in (ITEM | changes).items() if value is not ...}


def aggregated(**values: Any) -> dict[str, Any]:
    return {"type": 2, "values": values}


def attributes(size: int) -> dict[str, str]:
    return {f"k{at}": "v" for at in range(size)}


def mistakes(items: Any, **expected: Any) -> list[str]:
    return differences("jdcloud", request={"json": {"metricDataList": items}}, **expected)


def encoded(*points: DataPoint) -> Encoded:
    ids = count()
    items = [Item(index, None, point) for index, point in enumerate(points)]
    encoder = EncodeContext(NOW_NS, lambda: str(next(ids)), lambda draft: len(draft.render().body))
    return plan_calls(ROUTE.target, items, encoder)


def point(metric: str, **attributes: str) -> DataPoint:
    return DataPoint(metric, NOW_NS, "n", 1, attributes=attributes)


@pytest.mark.parametrize(
    ("changes", "made"),
    [
        pytest.param({"more": 1}, {"metric": "m", "value": 1}, id="a member that nobody knows"),
        pytest.param({"values": {"value": "-1.5e3"}}, {"value": -1500.0}, id="a number as text"),
        pytest.param({"values": {"value": MAX}}, {"value": MAX}, id="the largest integer"),
        pytest.param({"values": {"value": str(MAX)}}, {"value": MAX}, id="the largest integer as text"),
        pytest.param({"values": {"value": 0}}, {"value": 0}, id="zero"),
        pytest.param({"type": "1"}, {"value": 1}, id="the type as text"),
        pytest.param({"timestamp": "1699999999"}, {"time_ns": 1_699_999_999 * NS}, id="the time as text"),
        pytest.param({"timestamp": 1_700_086_400}, {"time_ns": 1_700_086_400 * NS}, id="a day ahead"),
        pytest.param({"timestamp": 1_697_408_000}, {"time_ns": 1_697_408_000 * NS}, id="30 days old"),
        pytest.param({"unit": None}, {"unit": None}, id="unit null"),
        pytest.param({"unit": ...}, {"unit": None}, id="no unit"),
        pytest.param({"unit": "u" * 64}, {"unit": "u" * 64}, id="the longest unit"),
        pytest.param({"namespace": "n" * 255}, {"namespace": "n" * 255}, id="the longest namespace"),
        pytest.param({"metric": "aZ_.9"}, {"metric": "aZ_.9"}, id="every kind of character in a name"),
        pytest.param({"dimensions": {"h": "磁盘 -/ "}}, {"attributes": {"h": "磁盘 -/ "}}, id="anything in a value"),
        pytest.param({"dimensions": attributes(5)}, {"attributes": attributes(5)}, id="five dimensions"),
        pytest.param({"dimensions": {"k": "v" * 254}}, {"attributes": {"k": "v" * 254}}, id="255 bytes of them"),
        pytest.param({"dimensions": ..., "tags": {"a": "b"}}, {"attributes": {"a": "b"}}, id="tags"),
        pytest.param({"dimensions": {}, "tags": {"a": "b"}}, {"attributes": {"a": "b"}}, id="tags, dimensions empty"),
        pytest.param({"tags": {"a": "b"}}, {"attributes": {"host": "h"}}, id="both"),
        pytest.param(aggregated(count=0), {"stats": {"count": 0}, "value": None}, id="a count of zero"),
        pytest.param(aggregated(max=MAX, min=-MAX), {"stats": {"max": MAX, "min": -MAX}}, id="large statistics"),
    ],
)
def test_item_becomes_a_point(changes: dict[str, Any], made: dict[str, Any]):
    assert mistakes([item(**changes)], points=[made], outcome={"code": "OK"}) == []


@pytest.mark.parametrize(
    ("changes", "reason", "message"),
    [
        ({"namespace": ...}, "MISSING_FIELD", "namespace is missing"),
        ({"namespace": None}, "MISSING_FIELD", "namespace is missing"),
        ({"namespace": ""}, "MISSING_FIELD", "namespace is missing"),
        ({"namespace": 5}, "BAD_FIELD", "namespace: 5 is not text"),
        ({"namespace": "n" * 256}, "BAD_FIELD", "namespace is longer than 255 bytes"),
        ({"namespace": "a-b"}, "BAD_FIELD", "namespace 'a-b' is not of the form [0-9A-Za-z_.]+"),
        ({"metric": ...}, "MISSING_FIELD", "metric is missing"),
        ({"metric": None}, "MISSING_FIELD", "metric is missing"),
        ({"metric": ["m"]}, "BAD_FIELD", "metric: a list is not text"),
        ({"metric": "m" * 256}, "BAD_FIELD", "metric is longer than 255 bytes"),
        ({"metric": "磁盘"}, "BAD_FIELD", "metric '磁盘' is not of the form [0-9A-Za-z_.]+"),
        ({"metric": "m\n"}, "BAD_FIELD", "metric 'm\\n' is not of the form [0-9A-Za-z_.]+"),
        ({"dimensions": ...}, "MISSING_FIELD", "attributes is missing"),
        ({"dimensions": None}, "MISSING_FIELD", "attributes is missing"),
        ({"dimensions": {}}, "MISSING_FIELD", "attributes is missing"),
        ({"dimensions": {"h": None}}, "MISSING_FIELD", "attributes is missing"),
        ({"dimensions": "h"}, "BAD_FIELD", "attributes: 'h' is not a map"),
        ({"dimensions": {"h": {}}}, "BAD_FIELD", "attributes: 'h' is a map, not text"),
        ({"dimensions": attributes(6)}, "BAD_FIELD", "attributes are 6; at most 5 are allowed"),
        ({"dimensions": {"k": "v" * 255}}, "BAD_FIELD", "attributes take 256 bytes; at most 255 are allowed"),
        (
            {"dimensions": {"a b": "v"}},
            "BAD_FIELD",
            "attributes have the name 'a b', which is not of the form [0-9A-Za-z_.]+",
        ),
        ({"timestamp": ...}, "MISSING_FIELD", "timestamp is missing"),
        ({"timestamp": None}, "MISSING_FIELD", "timestamp is missing"),
        ({"timestamp": 17_000_000_000}, "BAD_FIELD", "Time value only allowed Secondtimestamps,length is 10"),
        ({"timestamp": 1_700_000_000_000}, "BAD_FIELD", "Time value only allowed Secondtimestamps,length is 10"),
        ({"timestamp": 999_999_999}, "BAD_FIELD", "Time value only allowed Secondtimestamps,length is 10"),
        ({"timestamp": -170_000_000}, "BAD_FIELD", "Time value only allowed Secondtimestamps,length is 10"),
        ({"timestamp": 1_700_000_000.5}, "BAD_FIELD", "Time value only allowed Secondtimestamps,length is 10"),
        ({"timestamp": "now"}, "BAD_FIELD", "Time value only allowed Secondtimestamps,length is 10"),
        ({"timestamp": [1]}, "BAD_FIELD", "Time value only allowed Secondtimestamps,length is 10"),
        ({"timestamp": 9_999_999_999}, "BAD_FIELD", "time_ns: 9999999999000000000 ns is not between 1970 and 2262"),
        ({"timestamp": 1_697_321_600}, "TOO_OLD", "the data point is 2678400 s old; 2592000 s are allowed"),
        ({"type": ...}, "MISSING_FIELD", "type is missing"),
        ({"type": None}, "MISSING_FIELD", "type is missing"),
        ({"type": 3}, "BAD_FIELD", "type must be 1 or 2"),
        ({"type": 12}, "BAD_FIELD", "type must be 1 or 2"),
        ({"type": True}, "BAD_FIELD", "type must be 1 or 2"),
        ({"values": ...}, "MISSING_FIELD", "values is missing"),
        ({"values": None}, "MISSING_FIELD", "values is missing"),
        ({"values": {}}, "MISSING_FIELD", "values is empty"),
        ({"values": 1}, "BAD_FIELD", "values must be a map"),
        ({"values": [1]}, "BAD_FIELD", "values must be a map"),
        ({"values": {"value": None}}, "MISSING_FIELD", "values is empty"),
        ({"values": {"value": "x"}}, "BAD_FIELD", "values.value: 'x' is not a number"),
        ({"values": {"value": "NaN"}}, "BAD_FIELD", "values.value: 'NaN' is not a number"),
        ({"values": {"value": True}}, "BAD_FIELD", "values.value: true is not a finite number"),
        ({"values": {"value": [1]}}, "BAD_FIELD", "values.value: a list is not a finite number"),
        ({"values": {"value": MAX + 1}}, "BAD_FIELD", f"value {MAX + 1} is more than {MAX}"),
        ({"values": {"value": str(MAX + 1)}}, "BAD_FIELD", f"value {MAX + 1} is more than {MAX}"),
        ({"values": {"avg": 1}}, "BAD_FIELD", "values of type 1 hold nothing but value"),
        (aggregated(value=1), "BAD_FIELD", "values of type 2 hold nothing but avg, sum, last, max, min and count"),
        (aggregated(p99=1), "BAD_FIELD", "values of type 2 hold nothing but avg, sum, last, max, min and count"),
        (aggregated(avg=None), "MISSING_FIELD", "values is empty"),
        (aggregated(avg="x"), "BAD_FIELD", "stats: 'x' is not a number"),
        (aggregated(avg=1, count=-1), "BAD_FIELD", "values.count must not be negative"),
        (aggregated(avg=1, count="-1"), "BAD_FIELD", "values.count must not be negative"),
        (aggregated(sum=MAX + 1), "BAD_FIELD", f"stats sum {MAX + 1} is more than {MAX}"),
        ({"unit": 5}, "BAD_FIELD", "unit: 5 is not text"),
        ({"unit": "ü" * 33}, "BAD_FIELD", "unit is longer than 64 bytes"),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, dict) else "",
)
def test_bad_item_is_rejected_without_affecting_others(changes: dict[str, Any], reason: str, message: str):
    wrong = {"index": 1, "reason": reason, "message": message}
    outcome = {"reason": "PARTIAL", "accepted": 2, "rejected": [wrong]}
    listed = [{"errMetricData": write_json(item(**changes)).decode(), "errDetail": message}]
    reply = {"status": 400, "json": {"result": {"success": False, "errMetricDataList": listed}}}

    found = mistakes([item(), item(**changes), item()], points=[{}, {}], outcome=outcome, reply=reply)

    assert found == []


@pytest.mark.parametrize("lone", [None, "x", [], 5], ids=str)
def test_item_that_is_not_an_object_is_rejected(lone: Any):
    outcome = {"reason": "MISSING_FIELD", "message": "item 0: timestamp is missing"}

    assert mistakes([lone], outcome=outcome, reply={"status": 400, "json": {"error": {"code": 400}}}) == []


@pytest.mark.parametrize(
    ("body", "reason", "message"),
    [
        pytest.param(5, "MISSING_FIELD", "metricDataList is missing", id="a number"),
        pytest.param(None, "MISSING_FIELD", "metricDataList is missing", id="null"),
        pytest.param("x", "MISSING_FIELD", "metricDataList is missing", id="text"),
        pytest.param({}, "MISSING_FIELD", "metricDataList is missing", id="an empty object"),
        pytest.param({"metricDataList": None}, "MISSING_FIELD", "metricDataList is missing", id="null for a list"),
        pytest.param({"metricDataList": "x"}, "BAD_FIELD", "metricDataList is not a list", id="text for a list"),
    ],
)
def test_body_without_a_list_is_refused(body: Any, reason: str, message: str):
    outcome = {"reason": reason, "message": message}

    assert differences("jdcloud", request={"json": body}, outcome=outcome, reply={"status": 400}) == []


@pytest.mark.parametrize(
    ("dimensions", "outcome"),
    [
        pytest.param(attributes(6), {"code": "OK"}, id="six"),
        pytest.param({"k": "v" * 1023}, {"code": "OK"}, id="1024 bytes"),
        pytest.param(attributes(7), {"reason": "BAD_FIELD"}, id="seven"),
        pytest.param({"k": "v" * 1024}, {"reason": "BAD_FIELD"}, id="1025 bytes"),
        pytest.param({"k": "a-b"}, {"reason": "BAD_FIELD"}, id="a character that the route does not want in values"),
    ],
)
def test_route_overrides_limits(dimensions: Any, outcome: dict[str, Any], tmp_path: Path):
    (tmp_path / "route.yaml").write_text(OWN_RULES)
    route = load(tmp_path, {}).routes["jdcloud-to-jdcloud"]
    case = Case("", NOW_NS, request={"json": [item(dimensions=dimensions)]}, outcome=outcome)

    assert run_case(case, route) == []


def test_51_points_are_two_calls():
    calls = encoded(*(point(f"m{at}", h="1") for at in range(51))).calls

    assert [len(call.items) for call in calls] == [50, 1]
    assert [each["metric"] for call in calls for each in call.request.body["metricDataList"]] == [
        f"m{at}" for at in range(51)
    ]


def test_300_kib_are_split_by_bytes():
    calls = encoded(*(point(f"m{at}", h="v" * 6144) for at in range(50))).calls

    assert [len(call.items) for call in calls] == [25, 25]
    assert max(len(call.request.render().body) for call in calls) <= 262_144


def test_point_over_256_kib_is_too_large():
    result = encoded(point("a", h="1"), point("b", h="v" * 262_144), point("c", h="1"))

    assert [each.index for each in result.rejected] == [1]
    assert [item.index for call in result.calls for item in call.items] == [0, 2]
