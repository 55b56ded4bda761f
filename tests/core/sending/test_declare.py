from itertools import count
from typing import Any

import pytest

from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.errors import CallerError, SpecError
from gateway.core.pipeline import plan_calls, plan_declarations
from gateway.core.points.decode import Item
from gateway.core.points.point import DataPoint
from gateway.core.sending.declare import declaration_keys, declaring_calls
from gateway.core.sending.encode import EncodeContext
from gateway.core.vendor.route import Target
from tests.support.specs import stand_in

NOW = 1_700_000_000_000_000_000


def target(unique_by: str = "[metric, sort(keys(attributes))]", limits: str = "{}", item: str = "metric") -> Target:
    return stand_in(f"""
provider: acme
given: {{zone: a}}
limits: {limits}
send:
  group_by: [namespace]
  item: metric
  request: {{method: POST, path: /in, json: items}}
  declare:
    unique_by: {unique_by}
    item: {item}
    request: {{method: PUT, path: "/meta/{{namespace}}/{{given.zone}}/{{call_id}}", json: {{at: now_ns, all: items}}}}
""").target


def points(*metrics: str, **fields: Any) -> list[Item]:
    return [
        Item(index, None, DataPoint(metric, NOW, **{"value": 1, "namespace": "n", **fields}))
        for index, metric in enumerate(metrics)
    ]


def size_of(request: UnsignedRequest) -> int:
    return len(request.render().body)


def declared(to: Target, items: list[Item]) -> list[UnsignedRequest]:
    ids = count(1)
    new = declaration_keys(to, items)
    made = declaring_calls(to, new, EncodeContext(NOW, lambda: f"id{next(ids)}", size_of))
    assert [key for each in made for key in each.keys] == list(new)
    return [each.request for each in made]


def test_each_combination_is_declared_by_its_first_point():
    items = points("cpu", "mem", "cpu", value=5)

    found = declaration_keys(target(), items)

    assert [item.index for item in found.values()] == [0, 1]


@pytest.mark.parametrize(
    ("fields", "same"),
    [
        ({"attributes": {"b": "9", "a": "8"}}, True),
        ({"attributes": {"a": "1"}}, False),
        ({"attributes": {}}, False),
        ({"attributes": {"a": "1", "b": "2"}, "value": 7, "unit": "s"}, True),
    ],
    ids=["other values", "fewer names", "no names", "other fields"],
)
def test_combination_is_the_value_of_unique_by(fields: dict[str, Any], same: bool):
    one, other = points("cpu", attributes={"a": "1", "b": "2"}), points("cpu", **fields)

    assert (declaration_keys(target(), one).keys() == declaration_keys(target(), other).keys()) is same


def test_combination_may_read_given_values():
    assert len(declaration_keys(target("[given.zone]"), points("cpu", "mem"))) == 1


def test_provider_without_declare_has_no_combinations():
    silent = stand_in("provider: acme\nsend: {item: metric, request: {method: POST, path: /, json: items}}").target

    assert declaration_keys(silent, points("cpu")) == {}
    assert declared(silent, points("cpu")) == []


def test_one_call_declares_all_new_combinations_of_a_group():
    (request,) = declared(target(item="{m: metric, ns: namespace, zone: given.zone}"), points("cpu", "mem"))

    assert (request.method, request.path) == ("PUT", "/meta/n/a/id1")
    assert request.body == {
        "at": NOW,
        "all": [{"m": "cpu", "ns": "n", "zone": "a"}, {"m": "mem", "ns": "n", "zone": "a"}],
    }


def test_declarations_over_the_byte_limit_are_split_into_calls():
    requests = declared(target(limits="{bytes: 50}"), points("aaa", "bbb", "ccc"))

    assert [request.body["all"] for request in requests] == [["aaa"], ["bbb", "ccc"]]
    assert len({request.path for request in requests}) == 2


def test_single_declaration_over_the_byte_limit_is_too_large():
    with pytest.raises(CallerError, match="TOO_LARGE: one declaration takes more than the 39 bytes of a call"):
        declared(target(limits="{bytes: 39}"), points("aaa"))


@pytest.mark.parametrize(
    "wrong", [{"unique_by": "[length(value)]"}, {"item": "length(value)"}], ids=["unique_by", "item"]
)
def test_failing_expression_is_a_spec_error(wrong: dict[str, str]):
    with pytest.raises(SpecError, match="acme: length"):
        declared(target(**wrong), points("cpu"))


def test_each_combination_is_declared_before_its_first_call():
    to = target(limits="{points: 1}")
    encoder = EncodeContext(NOW, lambda: "id", size_of)
    calls = plan_calls(to, points("cpu", "cpu", "mem"), encoder).calls

    before = [
        [each.request.body["all"] for each in declaring] for _, declaring in plan_declarations(to, calls, encoder)
    ]

    assert before == [[["cpu"]], [], [["mem"]]]
