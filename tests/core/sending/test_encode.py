from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from gateway.core.http.request import Request
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.errors import SpecError
from gateway.core.outcome.outcome import Reason
from gateway.core.pipeline import plan_calls
from gateway.core.points.decode import Item
from gateway.core.points.point import DataPoint
from gateway.core.sending.encode import EncodeContext, Encoded
from tests.support.specs import stand_in

NOW = 1_700_000_000_000_000_000
CALL = "request: {method: POST, path: /, json: items}"


def point(metric: str, **fields: Any) -> DataPoint:
    return DataPoint(**{"metric": metric, "time_ns": NOW, "value": 1, **fields})


def encoded(send: str, *points: DataPoint, limits: str = "{}", given: Any = None, base_path: str = "") -> Encoded:
    text = f"provider: acme\ngiven: {{zone: a}}\nlimits: {limits}\nsend:\n  {send}"
    target = stand_in(text if "given.zone" in send else text.replace("given: {zone: a}\n", "")).target
    target = replace(target, url=replace(target.url, prefix=base_path), given=given or target.given)
    items = [Item(index, None, each) for index, each in enumerate(points)]
    ids = count(1)
    return plan_calls(
        target, items, EncodeContext(NOW, lambda: f"id{next(ids)}", lambda request: len(request.render().body))
    )


def bodies(result: Encoded) -> list[Any]:
    return [call.request.body for call in result.calls]


def test_items_are_grouped_in_order_of_first_appearance():
    points = [point("x", namespace="b"), point("y", namespace="a"), point("z", namespace="b"), point("w")]

    result = encoded(f"group_by: [namespace]\n  item: metric\n  {CALL}", *points)

    assert bodies(result) == [["x", "z"], ["y"], ["w"]]
    assert [[item.index for item in call.items] for call in result.calls] == [[0, 2], [1], [3]]
    assert [call.call_id for call in result.calls] == ["id1", "id2", "id3"]


def test_values_of_different_types_are_different_groups():
    points = [point("x", attributes={"n": "1"}), point("y", value=1)]

    result = encoded(f"group_by: {{n: attributes.n || value}}\n  item: metric\n  {CALL}", *points)

    assert bodies(result) == [["x"], ["y"]]


def test_items_and_calls_see_the_values_of_their_group():
    send = """group_by: {ns: namespace, kind: "attributes.kind || 'none'"}
  item: {m: metric, ns: ns, zone: given.zone, at: now_ns}
  request: {method: PUT, path: "/{ns}/{kind}", json: {ns: ns, items: items, values: "points[*].value"}}"""

    (call,) = encoded(send, point("x", namespace="n", value=7)).calls

    assert call.request.method == "PUT"
    assert call.request.path == "/n/none"
    assert call.request.body == {"ns": "n", "items": [{"m": "x", "ns": "n", "zone": "a", "at": NOW}], "values": [7]}


@pytest.mark.parametrize(
    ("limits", "sizes"),
    [
        pytest.param("{}", [7], id="no limit"),
        pytest.param("{points: 3}", [3, 3, 1], id="chunked by points"),
        pytest.param("{bytes: 16}", [3, 2, 2], id="halved by bytes"),
        pytest.param("{points: 4, bytes: 12}", [2, 2, 1, 2], id="both"),
        pytest.param("{bytes: 6}", [1] * 7, id="one by one"),
    ],
)
def test_calls_are_split_by_the_limits_and_keep_their_order(limits: str, sizes: list[int]):
    points = [point(f"m{index}") for index in range(7)]  # each takes 5 bytes in a body: "m0" and a comma

    result = encoded(f"item: metric\n  {CALL}", *points, limits=limits)

    assert [len(call.items) for call in result.calls] == sizes
    assert [name for body in bodies(result) for name in body] == [each.metric for each in points]
    assert len({call.call_id for call in result.calls}) == len(sizes)
    assert result.rejected == ()


def test_single_point_over_the_byte_limit_is_too_large_and_affects_no_other():
    result = encoded(f"item: metric\n  {CALL}", point("a"), point("b" * 50), point("c"), limits="{bytes: 20}")

    assert bodies(result) == [["a"], ["c"]]
    (rejected,) = result.rejected
    assert (rejected.index, rejected.reason) == (1, Reason.TOO_LARGE)
    assert rejected.message == "one data point takes more than the 20 bytes of a call"


@pytest.mark.parametrize(
    ("call", "request_"),
    [
        pytest.param(
            "path: '/{given.zone}', headers: {x-a: '{given.zone}', x-b: '{given.zone.none}'}",
            Request("POST", "/a", (("Host", "target.example"), ("x-a", "a"))),
            id="null header is left out",
        ),
        pytest.param(
            "path: /p, query: {m: 'points[0].metric', none: 'given.zone.x', n: '`5`', t: '`true`', s: \"'a b&c'\"}",
            Request("POST", "/p?m=cpu%2Fx&n=5&t=true&s=a%20b%26c", (("Host", "target.example"),)),
            id="query is encoded, null members left out",
        ),
        pytest.param(
            "path: '/{given.zone}/{call_id}', text: '{call_id}'",
            Request(
                "POST",
                "/a/id1",
                (("Host", "target.example"), ("Content-Type", "text/plain; charset=utf-8")),
                b"id1",
            ),
            id="text",
        ),
        pytest.param(
            "path: /, form: {m: 'points[0].metric', s: \"'ä +'\"}",
            Request(
                "POST",
                "/",
                (("Host", "target.example"), ("Content-Type", "application/x-www-form-urlencoded")),
                b"m=cpu%2Fx&s=%C3%A4+%2B",
            ),
            id="form",
        ),
        pytest.param(
            "path: /, headers: {content-type: application/json;charset=UTF-8}, json: {items: items}",
            Request(
                "POST",
                "/",
                (("Host", "target.example"), ("content-type", "application/json;charset=UTF-8")),
                b'{"items":["cpu/x"]}',
            ),
            id="json with a content type of its own",
        ),
    ],
)
def test_call_is_rendered_byte_for_byte(call: str, request_: Request):
    result = encoded(f"item: metric\n  request: {{method: POST, {call}}}", point("cpu/x"))

    assert result.calls[0].request.render() == request_


def test_value_in_a_path_stays_one_segment():
    send = 'group_by: [namespace]\n  item: metric\n  request: {method: POST, path: "/v1/{namespace}/data"}'

    (call,) = encoded(send, point("x", namespace="a/../b?c#ä"), base_path="/base").calls

    assert call.request.path == "/base/v1/a%2F..%2Fb%3Fc%23%C3%A4/data"


@pytest.mark.parametrize(
    ("send", "message"),
    [
        pytest.param(f"item: length(value)\n  {CALL}", "acme: length(value): ", id="failing expression"),
        pytest.param("item: metric\n  request: {method: GET, path: /, query: items}", "not a map", id="query"),
        pytest.param("item: metric\n  request: {method: GET, path: /, query: {a: items}}", "a is not text", id="list"),
        pytest.param("item: metric\n  request: {method: GET, path: '/{items}'}", "items: not text", id="path"),
    ],
)
def test_failing_expression_is_a_spec_error(send: str, message: str):
    with pytest.raises(SpecError) as caught:
        encoded(send, point("x"))

    assert caught.value.outcome.reason is Reason.INTERNAL
    assert message in caught.value.outcome.message


@pytest.mark.parametrize("character", ["\r", "\n", "\0"])
def test_header_with_a_line_break_is_rejected(character: str):
    request = UnsignedRequest("GET", "http", "h", "/", headers=(("X-A", f"a{character}b"),))

    with pytest.raises(SpecError, match="the header X-A would contain a line break"):
        request.render()


def test_body_outside_json_is_rejected():
    with pytest.raises(SpecError, match="the body cannot be written as JSON"):
        UnsignedRequest("POST", "http", "h", "/", body_kind="json", body="\udcff").render()


@pytest.mark.parametrize("namespace", ["..", ".", ""])
def test_value_that_would_change_the_path_is_rejected_and_affects_no_other(namespace: str):
    send = 'group_by: [namespace]\n  item: metric\n  request: {method: POST, path: "/m/{namespace}/put", json: items}'

    result = encoded(send, point("x", namespace="a"), point("y", namespace=namespace), point("z", namespace="b"))

    assert [call.request.path for call in result.calls] == ["/m/a/put", "/m/b/put"]
    assert [(each.index, each.reason) for each in result.rejected] == [(1, Reason.BAD_FIELD)]
    assert result.rejected[0].message == f"{namespace!r} cannot be a segment of the path"
