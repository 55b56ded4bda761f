from typing import Any

import pytest

from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Code, Reason, RejectedItem
from gateway.core.points.decode import (
    Item,
    apply_reject_rules,
    decode_items,
    read_attributes,
    read_point,
    read_stats,
    read_text,
    read_time_ns,
    read_value,
    rejection_of_report,
)
from gateway.core.points.point import DataPoint
from gateway.core.steps import finish
from gateway.core.vendor.provider import Receive
from tests.support.specs import provider

NOW = 1_700_000_000_000_000_000
NAMES: dict[str, Any] = dict.fromkeys(("query", "headers", "given", "request", "recipe", "key"))


def decode(form: Receive, names: dict[str, Any], *, now_ns: int) -> tuple[list[Item], list[RejectedItem]]:
    return finish(decode_items(form, names, now_ns=now_ns))


def receive(
    more: str = "", *, each: str = "{item: body.data}", point: str = "metric: item.m, value: item.v"
) -> Receive:
    text = f"""
provider: acme
receive:
  request: {{method: POST, path: /, body: json}}
  verify: [session]
  each: {each}
  point: {{{point}}}
  {more}
"""
    built = provider(text).receive
    assert built is not None
    return built


@pytest.mark.parametrize(
    ("reader", "value", "read"),
    [
        pytest.param(read_text, "x", "x", id="text"),
        pytest.param(read_value, 1.5, 1.5, id="number"),
        pytest.param(read_value, "1e3", 1000.0, id="number as text"),
        pytest.param(read_value, 2**53 + 1, 2**53 + 1, id="2**53+1"),
        pytest.param(read_value, "18446744073709551615", 2**64 - 1, id="2**64-1 as text"),
        pytest.param(read_value, -(2**63), -(2**63), id="-2**63"),
        pytest.param(read_time_ns, 0, 0, id="1970"),
        pytest.param(read_time_ns, 2**63 - 1, 2**63 - 1, id="2262"),
        pytest.param(read_stats, {"sum": "2", "count": 1, "avg": None}, {"sum": 2, "count": 1}, id="stats"),
        pytest.param(
            read_attributes, {"a": "x", "b": 80, "c": True, "d": None}, {"a": "x", "b": "80", "c": "true"}, id="map"
        ),
        pytest.param(read_attributes, [["a", "x"], ["b", 0.5]], {"a": "x", "b": "0.5"}, id="pairs"),
        pytest.param(read_attributes, [], {}, id="no pairs"),
    ],
)
def test_field_is_decoded(reader: Any, value: Any, read: Any):
    assert reader(value) == read


@pytest.mark.parametrize(
    ("reader", "value", "message"),
    [
        pytest.param(read_text, 5, "5 is not text", id="text"),
        pytest.param(read_text, ["x"], "a list is not text", id="text as a list"),
        pytest.param(read_value, True, "true is not a finite number", id="true"),
        pytest.param(read_value, float("nan"), "NaN is not a finite number", id="NaN"),
        pytest.param(read_value, "NaN", "'NaN' is not a number", id="NaN as text"),
        pytest.param(read_value, "1e400", "'1e400' is not a finite number", id="1e400 as text"),
        pytest.param(read_value, "", "'' is not a number", id="empty text"),
        pytest.param(read_value, {"x": 1}, "a map is not a finite number", id="map"),
        pytest.param(read_value, 2**64, "18446744073709551616 is not between", id="2**64"),
        pytest.param(read_value, -(2**63) - 1, "-9223372036854775809 is not between", id="-2**63-1"),
        pytest.param(read_value, "1" * 400, "is not between", id="400 digits"),
        pytest.param(read_value, "1" * 5000, "is not a number", id="5000 digits"),
        pytest.param(read_time_ns, "0", "'0' is not a time", id="time as text"),
        pytest.param(read_time_ns, True, "true is not a time", id="time as boolean"),
        pytest.param(read_time_ns, -1, "-1 ns is not between 1970 and 2262", id="before 1970"),
        pytest.param(read_time_ns, 2**63, "is not between 1970 and 2262", id="after 2262"),
        pytest.param(read_stats, [1], "a list is not a map of statistics", id="stats as a list"),
        pytest.param(read_stats, {"sum": "x"}, "'x' is not a number", id="statistic as text"),
        pytest.param(read_attributes, "a=b", "'a=b' is not a map", id="attributes as text"),
        pytest.param(read_attributes, [["a"]], "not a map, nor a list of names and values", id="pair of one"),
        pytest.param(read_attributes, [[1, "x"]], "not a map, nor a list of names and values", id="number as a name"),
        pytest.param(read_attributes, {"a": {"b": 1}}, "'a' is a map, not text", id="nested attribute"),
    ],
)
def test_invalid_field_is_rejected(reader: Any, value: Any, message: str):
    with pytest.raises(ValueError, match=message):
        reader(value)


def test_point_has_all_fields_of_its_item():
    point = (
        "namespace: body.ns, metric: item.m, value: item.v, stats: {sum: item.s, max: item.x},"
        " unit: item.u, time_ns: from_ms(item.t), attributes: {host: item.h, zone: item.z}"
    )
    item = {"m": "cpu", "v": "0.5", "s": 3, "u": "Percent", "t": 1_699_999_999_123, "h": "a"}

    items, rejected = decode(receive(point=point), NAMES | {"body": {"ns": "n", "data": [item]}}, now_ns=NOW)

    assert rejected == []
    assert items[0].item == item
    assert items[0].point == DataPoint("cpu", 1_699_999_999_123_000_000, "n", 0.5, {"sum": 3}, "Percent", {"host": "a"})


def test_field_without_item_is_the_same_for_all_items():
    form = receive(point="metric: item.m, value: item.v, attributes: {host: body.host}")

    body = {"host": "a", "data": [{"m": "cpu", "v": 1}, {"m": "mem", "v": 2}]}
    items, _ = decode(form, NAMES | {"body": body}, now_ns=NOW)

    assert [field.is_shared for field in form.point] == [False, False, True]
    assert [each.point.attributes for each in items] == [{"host": "a"}] * 2


def test_invalid_field_without_item_rejects_every_item_by_its_first_invalid_field():
    form = receive(point="metric: item.m, value: item.v, unit: body.unit")

    items, rejected = decode(
        form, NAMES | {"body": {"unit": 5, "data": [{"m": "cpu", "v": 1}, {"m": 6, "v": 2}]}}, now_ns=NOW
    )

    assert items == []
    assert [each.message for each in rejected] == ["unit: 5 is not text", "m: 6 is not text"]


def test_missing_time_is_the_time_of_receipt_and_empty_stats_are_absent():
    point = "metric: item.m, value: item.v, stats: {sum: item.s}, time_ns: item.t"

    items, _ = decode(receive(point=point), NAMES | {"body": {"data": [{"m": "cpu", "v": 0}]}}, now_ns=NOW)

    assert items[0].point == DataPoint("cpu", NOW, value=0)


@pytest.mark.parametrize(
    ("item", "reason", "message"),
    [
        pytest.param({"v": 1}, Reason.MISSING_FIELD, "m is missing", id="no metric"),
        pytest.param({"m": "", "v": 1}, Reason.MISSING_FIELD, "m is missing", id="empty metric"),
        pytest.param({"m": "cpu"}, Reason.MISSING_FIELD, "v is missing", id="no value"),
        pytest.param({"m": "cpu", "v": None}, Reason.MISSING_FIELD, "v is missing", id="null value"),
        pytest.param({"m": "cpu", "v": "NaN"}, Reason.BAD_FIELD, "v: 'NaN' is not a number", id="NaN"),
        pytest.param({"m": 5, "v": 1}, Reason.BAD_FIELD, "m: 5 is not text", id="metric of another type"),
        pytest.param("cpu 1", Reason.MISSING_FIELD, "m is missing", id="item of another type"),
        pytest.param(None, Reason.MISSING_FIELD, "m is missing", id="null item"),
    ],
)
def test_bad_item_is_rejected_with_its_path_and_affects_no_other(item: Any, reason: Reason, message: str):
    good = {"m": "cpu", "v": 1}

    items, rejected = decode(receive(), NAMES | {"body": {"data": [good, item, good]}}, now_ns=NOW)

    assert [each.index for each in items] == [0, 2]
    assert rejected == [RejectedItem(1, reason, message, item)]


def test_failing_expression_rejects_its_item():
    items, rejected = decode(
        receive(point="metric: item.m, value: length(item.v)"),
        NAMES | {"body": {"data": [{"m": "a", "v": 1}]}},
        now_ns=NOW,
    )

    assert items == []
    assert rejected[0].reason is Reason.BAD_FIELD
    assert rejected[0].message.startswith("value: In function length(), invalid type")


@pytest.mark.parametrize(
    ("body", "reason", "message"),
    [
        pytest.param({}, Reason.MISSING_FIELD, "data is missing", id="absent"),
        pytest.param({"data": None}, Reason.MISSING_FIELD, "data is missing", id="null"),
        pytest.param({"data": []}, Reason.MISSING_FIELD, "data is empty", id="empty"),
        pytest.param({"data": {"m": "cpu"}}, Reason.BAD_FIELD, "data is not a list", id="a map"),
        pytest.param({"data": "x"}, Reason.BAD_FIELD, "data is not a list", id="text"),
        pytest.param([], Reason.MISSING_FIELD, "data is missing", id="body of another type"),
    ],
)
def test_report_without_a_list_of_items_is_rejected(body: Any, reason: Reason, message: str):
    with pytest.raises(CallerError) as caught:
        decode(receive(), NAMES | {"body": body}, now_ns=NOW)

    assert (caught.value.outcome.reason, caught.value.outcome.message) == (reason, message)


def test_empty_report_is_accepted_with_allow_empty():
    assert decode(receive("allow_empty: true"), NAMES | {"body": {"data": []}}, now_ns=NOW) == ([], [])


def test_nested_lists_are_decoded_in_order_with_outer_names():
    form = receive(
        each="{host: body, group: host.groups, item: group.data}",
        point="namespace: host.name, metric: group.name, value: item",
    )
    body = [
        {"name": "a", "groups": [{"name": "x", "data": [1, 2]}, {"name": "y"}]},
        {"name": "b"},
        {"name": "c", "groups": [{"name": "z", "data": [3]}]},
    ]

    items, _ = decode(form, NAMES | {"body": body}, now_ns=NOW)

    seen = [(each.index, each.point.namespace, each.point.metric, each.point.value) for each in items]
    assert seen == [(0, "a", "x", 1), (1, "a", "x", 2), (2, "c", "z", 3)]


def test_inner_value_that_is_not_a_list_rejects_the_report():
    form = receive(each="{group: body, item: group.data}")

    with pytest.raises(CallerError, match="BAD_FIELD: the list of items is not a list"):
        decode(form, NAMES | {"body": [{"data": 5}]}, now_ns=NOW)


def test_reject_item_rejects_one_item_with_its_text():
    form = receive("reject_item: [{when: item.v > `9`, reason: NOT_ALLOWED, text: 'no {item.m}'}]")

    items, rejected = decode(form, NAMES | {"body": {"data": [{"m": "a", "v": 10}, {"m": "b", "v": 1}]}}, now_ns=NOW)

    assert [each.point.metric for each in items] == ["b"]
    assert rejected == [RejectedItem(0, Reason.NOT_ALLOWED, "no a", {"m": "a", "v": 10})]


@pytest.mark.parametrize(
    ("body", "rejected"),
    [
        pytest.param({"v": "2"}, None, id="fits"),
        pytest.param({"v": "1"}, (Reason.NOT_ALLOWED, "version 1 is too old"), id="first that holds"),
        pytest.param({"v": 1}, (Reason.BAD_FIELD, "it cannot be read: 1 is not text"), id="failing expression"),
    ],
)
def test_reject_report_rejects_the_whole_report(body: Any, rejected: tuple[Reason, str] | None):
    rules = (
        "reject_report: [{when: \"matches(body.v, '1')\", reason: NOT_ALLOWED, text: 'version {body.v} is too old'}]"
    )
    rules_of_report = receive(rules).reject_report

    if rejected is None:
        apply_reject_rules(rules_of_report, NAMES | {"body": body})
    else:
        with pytest.raises(CallerError) as caught:
            apply_reject_rules(rules_of_report, NAMES | {"body": body})
        assert (caught.value.outcome.reason, caught.value.outcome.message) == rejected


def test_report_rejected_for_its_items_names_the_first_and_the_count():
    rejected = [RejectedItem(3, Reason.BAD_FIELD, "v is bad"), RejectedItem(5, Reason.MISSING_FIELD, "m is missing")]

    outcome = rejection_of_report(rejected)

    assert (outcome.code, outcome.reason) == (Code.INVALID_ARGUMENT, Reason.BAD_FIELD)
    assert outcome.message == "item 3: v is bad (2 items are rejected)"
    assert outcome.rejected == tuple(rejected)


def test_point_is_read_from_json_fields():
    point = read_point({"metric": "cpu", "value": "1", "attributes": {"a": 1}, "unit": None}, now_ns=NOW)

    assert point == DataPoint("cpu", NOW, value=1, attributes={"a": "1"})


def test_unknown_field_of_a_point_is_rejected():
    with pytest.raises(ValueError, match="a data point has no 'labels'; it has namespace, metric, value"):
        read_point({"labels": {}}, now_ns=NOW)
