from dataclasses import replace
from typing import Any

import pytest

from gateway.core.http.request import Request
from gateway.proof.cases.parts import Mismatch
from gateway.proof.cases.run import Case, case_request, run_case
from tests.support.specs import stand_in

NOW = 1_700_000_000_000_000_000
ACME = stand_in("""
provider: acme
receive:
  request: {method: POST, path: /in, body: json}
  verify: [session]
  each: {item: body.items}
  point: {namespace: item.ns, metric: item.m, value: item.v}
  replies: {ok: {json: {taken: accepted}}, error: {status: 400, json: {why: message, by: recipe}}}
send:
  group_by: [namespace]
  item: {name: metric}
  requests:
    post: {method: POST, path: /out, json: {items: items}}
    get: {method: GET, path: /out, query: {n: length(items)}}
  sign: session
  poll: {every_s: 1}
  outcome: [{status: 202, poll: body.at}, {when: body.ok, code: OK}, {message: body.why}]
""")
BY_TWO = """
provider: two
needs: [project]
given: {region: cn}
receive:
  request: {method: POST, path: "/{region}/{project}"}
  verify: [session, keyed]
  each: {item: "[query]"}
  point: {metric: item.m, value: item.v}
send: {item: "{m: metric, p: given.project}", request: {method: POST, path: /, json: {items: items}}}
"""
ONE = {"json": {"items": [{"ns": "n", "m": "cpu", "v": 1}]}}
RAW = 'POST /in HTTP/1.1\nAuthorization: case-secret\n\n{"items":[{"m":"cpu","v":1}]}'


def run(**parts: Any) -> list[str]:
    return run_case(Case("a case", NOW, **parts), ACME)


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param({"request": ONE, "points": [{"namespace": "n", "metric": "cpu", "time_ns": NOW}]}, id="points"),
        pytest.param({"request": RAW, "points": [{"namespace": None, "value": 1}]}, id="raw request"),
        pytest.param({"request": ONE, "sends": [{"path": "/out", "json": {"items": [{"name": "cpu"}]}}]}, id="sends"),
        pytest.param(
            {"request": ONE, "outcome": {"code": "OK", "accepted": 1}, "reply": {"json": {"taken": 1}}}, id="all well"
        ),
        pytest.param(
            {"points": [{"metric": "a"}, {"metric": "b", "namespace": "n"}], "sends": [{}, {}]}, id="from points"
        ),
        pytest.param(
            {"points": [{"metric": "a"}], "sends": [{"request": "get", "query": {"n": "1"}}]}, id="other call"
        ),
        pytest.param(
            {"request": {"json": {}}, "outcome": {"reason": "MISSING_FIELD"}, "reply": {"status": 400}}, id="rejected"
        ),
        pytest.param({"request": {"method": "PUT"}, "outcome": {"reason": "WRONG_METHOD"}}, id="wrong method"),
        pytest.param(
            {"request": ONE, "answer": {"json": {"why": "full"}}, "outcome": {"code": "INTERNAL", "message": "full"}},
            id="answer to a report",
        ),
        pytest.param(
            {
                "answer": {"status": 403, "text": "x"},
                "outcome": {"code": "PERMISSION_DENIED"},
                "reply": {"status": 400},
            },
            id="answer alone",
        ),
        pytest.param({"answer": {"status": 202, "json": {"at": "/j"}}, "outcome": {"poll": "/j"}}, id="poll"),
        pytest.param(
            {"outcome": {"reason": "STALE", "message": "m", "recipe": "r"}, "reply": {"json": {"why": "m", "by": "r"}}},
            id="outcome alone",
        ),
        pytest.param({"reply": {"status": 200, "headers": {"content-type": "application/json"}}}, id="reply alone"),
    ],
)
def test_golden_case_passes(parts: dict[str, Any]):
    assert run(**parts) == []


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        pytest.param(
            {"request": ONE, "points": [{"metric": "mem"}]},
            ['points[0].metric: expected "mem", got "cpu"'],
            id="another metric",
        ),
        pytest.param(
            {"request": {"json": {}}, "points": [{}]},
            ["request: rejected, MISSING_FIELD: items is missing"],
            id="rejected",
        ),
        pytest.param({"request": ONE, "sends": []}, ["sends: expected 0 items, got 1 items"], id="sent after all"),
        pytest.param(
            {"points": [{"metric": "a"}], "sends": [{"request": "put"}]},
            ["sends: no request is named 'put'"],
            id="call",
        ),
        pytest.param(
            {"points": [{"labels": {}}]},
            ["points: a data point has no 'labels'; it has namespace, metric, value, stats, unit, time_ns, attributes"],
            id="no such field",
        ),
        pytest.param(
            {"request": "hello"},
            ["request: line 1: 'hello' is not a request line such as 'POST /path HTTP/1.1'"],
            id="no request",
        ),
        pytest.param({"request": {"path": "/x"}}, ["request: no call of acme has the path /x"], id="path"),
        pytest.param(
            {"request": {"json": "\ud800"}},
            ["request: the body cannot be written as JSON: str is not valid UTF-8: surrogates not allowed"],
            id="unwritable",
        ),
        pytest.param({"request": {"sign": "hand"}}, ["request: no recipe is named 'hand'"], id="recipe"),
        pytest.param({"outcome": {"reason": "TIRED"}}, ["outcome: 'TIRED' is not a valid Reason"], id="reason"),
        pytest.param(
            {"request": ONE, "outcome": {"accepted": 2}, "reply": {"status": 201}},
            ["outcome.accepted: expected 2, got 1", "reply.status: expected 201, got 200"],
            id="every difference",
        ),
    ],
)
def test_case_fails_with_each_difference(parts: dict[str, Any], found: list[str]):
    assert run(**parts) == found


DECLARES = stand_in("""
provider: acme
limits: {points: 1}
send:
  group_by: [namespace]
  item: metric
  request: {method: POST, path: /in, json: items}
  declare:
    unique_by: [namespace, metric]
    item: {name: metric}
    request: {method: POST, path: "/meta/{namespace}", json: items}
""")


@pytest.mark.parametrize(
    ("declares", "found"),
    [
        pytest.param([{"path": "/meta/n", "json": [{"name": "a"}]}, {"path": "/meta/o"}], [], id="what is needed"),
        pytest.param([{}], ["declares: expected 1 items, got 2 items"], id="too few"),
        pytest.param(
            [{"json": [{"name": "b"}]}, {}], ['declares[0].json[0].name: expected "b", got "a"'], id="another name"
        ),
    ],
)
def test_declares_are_compared_with_the_calls_to_an_upstream_without_declarations(declares: Any, found: list[str]):
    points = [{"metric": "a", "namespace": namespace, "value": 1} for namespace in ("n", "n", "o")]
    sends = [{"json": ["a"]}] * 3

    assert run_case(Case("a", NOW, points=points, declares=declares, sends=sends), DECLARES) == found


def test_request_to_a_provider_that_only_sends_is_an_error():
    found = run_case(Case("a", NOW, request={"json": {}}, sends=[{"json": ["a"]}]), DECLARES)

    assert found == ["request: acme has no `receive`"]


def test_case_request_in_parts_is_signed():
    request = case_request(Case("a", NOW, request=ONE | {"headers": {"Host": "h", "X-A": 1}}), ACME)

    assert request == Request(
        "POST",
        "/in",
        (("Host", "h"), ("X-A", "1"), ("authorization", "case-secret"), ("Content-Type", "application/json")),
        b'{"items":[{"ns":"n","m":"cpu","v":1}]}',
    )


def test_case_request_is_signed_with_the_named_recipe():
    route = stand_in(BY_TWO)

    request = case_request(Case("a", NOW, request={"sign": "keyed"}), route)

    assert request.header("authorization") == "case-key:case-secret"


def test_path_of_a_case_is_filled_with_given_values():
    route = stand_in(BY_TWO)

    assert case_request(Case("a", NOW, request={}), route).path == "/cn/project"


def test_case_request_of_a_route_without_verifiers_is_unsigned():
    route = replace(ACME, source=replace(ACME.source, verifiers=()))

    request = case_request(Case("a", NOW, request={"form": {"a": "b c"}, "query": {"q": "1"}}), route)

    assert (request.target, request.body, request.header("authorization")) == ("/in?q=1", b"a=b+c", None)


def test_unreadable_raw_request_is_a_mismatch():
    with pytest.raises(Mismatch, match="request: line 1"):
        case_request(Case("a", NOW, request="?"), ACME)


# The calls of a relay.

RELAY = stand_in("""
provider: acme-image
relay: true
receive:
  request: {method: POST, path: /in, body: json}
  verify: [session]
  reject_report: [{when: "!(body.start)", reason: MISSING_FIELD, text: start is missing}]
  replies: {error: {status: 400, json: {why: message, by: recipe}}}
send:
  requests:
    post: {method: POST, path: /out, json: {from: body.start}}
    get: {method: GET, path: /out, query: {from: body.start}}
  sign: session
""")
CALL = {"json": {"start": 1}}


def pass_on(**parts: Any) -> list[str]:
    return run_case(Case("a case", NOW, **parts), RELAY)


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param({"request": CALL, "sends": [{"method": "POST", "path": "/out", "json": {"from": 1}}]}, id="sends"),
        pytest.param({"request": CALL, "sends": [{"request": "get", "query": {"from": "1"}}]}, id="other call"),
        pytest.param(
            {"request": CALL, "outcome": {"code": "OK", "accepted": 0}, "reply": {"status": 200, "text": ""}},
            id="an empty answer where none is stated",
        ),
        pytest.param(
            {
                "request": CALL,
                "answer": {"status": 404, "text": "none", "headers": {"X-A": 1, "Keep-Alive": "timeout=5"}},
                "outcome": {"code": "NOT_FOUND", "reason": "UPSTREAM_REJECTED"},
                "reply": {"status": 404, "text": "none", "headers": {"x-a": "1", "keep-alive": None}},
            },
            id="any answer",
        ),
        pytest.param(
            {"answer": {"text": "x"}, "outcome": {"code": "OK"}, "reply": {"text": "x"}}, id="an answer alone"
        ),
        pytest.param(
            {
                "request": {"json": {}},
                "outcome": {"reason": "MISSING_FIELD"},
                "reply": {"status": 400, "json": {"why": "start is missing"}},
            },
            id="rejected",
        ),
        pytest.param(
            {"outcome": {"reason": "UPSTREAM_DOWN", "recipe": "session"}, "reply": {"json": {"by": "session"}}},
            id="from an outcome",
        ),
    ],
)
def test_a_correct_case_of_a_relay_passes(parts: dict[str, Any]):
    assert pass_on(**parts) == []


@pytest.mark.parametrize(
    ("parts", "differs"),
    [
        ({"request": CALL, "sends": [{"json": {"from": 2}}]}, ["sends[0].json.from: expected 2, got 1"]),
        ({"request": CALL, "sends": []}, ["sends: expected 0 items, got 1 items"]),
        ({"request": CALL, "reply": {"status": 201}}, ["reply.status: expected 201, got 200"]),
        ({"request": CALL, "answer": {"text": "x"}, "reply": {"text": "y"}}, ['reply.text: expected "y", got "x"']),
    ],
    ids=["sends", "none sent", "status", "text"],
)
def test_a_wrong_case_of_a_relay_fails_with_each_difference(parts: dict[str, Any], differs: list[str]):
    assert pass_on(**parts) == differs


def test_a_case_of_a_rejected_call_sends_nothing():
    assert pass_on(request={"json": {}}, sends=[{}]) == ["request: rejected, MISSING_FIELD: start is missing"]
