from dataclasses import replace
from typing import Any

import pytest

from gateway.core.context import RequestContext
from gateway.core.http.json import write_json
from gateway.core.http.received import ReceivedRequest
from gateway.core.http.request import Headers, Request
from gateway.core.outcome.errors import CallerError, SpecError
from gateway.core.outcome.outcome import Code, Reason
from gateway.core.pipeline import receive_relayed
from gateway.core.recipe.verify import NoReplayCheck
from gateway.core.vendor.relay import RelayedRequest, outcome_of_relayed, passed_headers
from gateway.core.vendor.route import Route
from gateway.core.vendor.routing import make_snapshot
from tests.support.specs import stand_in

NOW = 1_700_000_000_000_000_000
IMAGE = """
provider: image
relay: true
given: {version: v1}
receive:
  request: {method: POST, path: "/old/{room}", body: json, input: body.call}
  verify: [session]
  reject_report: [{when: body.bad, reason: BAD_FIELD, text: it is bad}]
send:
  request:
    method: POST
    path: "/new/{given.room}"
    query: {q: query.q, at: now_ns, id: call_id}
    headers: {x-version: "{given.version}", x-kept: "{headers.x_kept}"}
    json: {names: "body.names && join(',', body.names)"}
  sign: session
"""
ROUTE = stand_in(IMAGE)
KNOWN = ("Authorization", "case-secret")


def relayed(body: Any, *headers: tuple[str, str], target: str = "/old/cellar", route: Route = ROUTE) -> RelayedRequest:
    request = Request("POST", target, headers or (KNOWN,), write_json(body))
    match = make_snapshot([route]).match(request)
    assert match is not None
    return receive_relayed(match, ReceivedRequest(request, "json"), RequestContext(NOW, NoReplayCheck()), call_id="c0")


def with_given(**given: str) -> Route:
    target = replace(ROUTE.target, given={**ROUTE.target.given, **given}, stated=frozenset(given))
    return replace(ROUTE, target=target)


def test_upstream_request_is_built_from_the_received_request():
    call = relayed({"call": {"names": ["a", "b"]}}, KNOWN, ("X-Kept", "k"), target="/old/cellar?q=%26").request

    assert (call.method, call.scheme, call.host, call.path) == ("POST", "http", "target.example", "/new/cellar")
    assert call.query == (("q", "&"), ("at", str(NOW)), ("id", "c0"))
    assert call.headers == (("x-version", "v1"), ("x-kept", "k"))
    assert (call.body_kind, call.body) == ("json", {"names": "a,b"})


def test_given_values_of_the_target_precede_captured_values():
    call = relayed({"call": {}}, route=with_given(room="attic", version="v2")).request

    assert (call.path, call.headers) == ("/new/attic", (("x-version", "v2"),))


def test_captured_values_precede_the_providers_values():
    needing = stand_in(IMAGE.replace("relay: true", "relay: true\nneeds: [room]"))
    giving = stand_in(IMAGE.replace("given: {version: v1}", "given: {version: v1, room: attic}"))

    assert [relayed({"call": {}}, route=route).request.path for route in (needing, giving)] == ["/new/cellar"] * 2


def test_relayed_request_keeps_its_caller_and_names():
    result = relayed({"call": {"names": ["a"]}})

    assert result.caller.recipe == "session"
    assert (result.names["recipe"], result.names["body"]) == ("session", {"names": ["a"]})
    assert result.names["given"]["room"] == "cellar"


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        ({"call": {}}, (("X-A", "1"),), Reason.MISSING_CREDENTIALS),
        ({"call": {}}, (("Authorization", "other"),), Reason.UNKNOWN_KEY),
        ({"call": {"bad": True}}, (KNOWN,), Reason.BAD_FIELD),
        ({"call": {"names": [1]}}, (KNOWN,), Reason.BAD_FIELD),
    ],
    ids=["unsigned", "unknown", "rejected", "the expression of the call fails"],
)
def test_request_that_cannot_be_relayed_is_a_caller_error(body: Any, headers: Headers, reason: Reason):
    with pytest.raises(CallerError) as caught:
        relayed(body, *headers)

    assert caught.value.outcome.reason is reason


@pytest.mark.parametrize(
    "target",
    ["/old/..", "/old/%2e%2e", "/old/\udcff", "/old/cellar?q=1&q=2"],
    ids=["dots", "encoded", "UTF-8", "repeated"],
)
def test_value_that_cannot_be_in_a_path_or_query_is_a_caller_error(target: str):
    with pytest.raises(CallerError) as caught:
        relayed({"call": {}}, KNOWN, target=target)

    assert caught.value.outcome.reason is Reason.BAD_FIELD


def test_parameters_that_are_not_a_map_are_a_spec_error():
    route = stand_in(IMAGE.replace("query: {q: query.q, at: now_ns, id: call_id}", "query: call_id"))

    with pytest.raises(SpecError, match="image: parameters are not a map"):
        relayed({"call": {}}, route=route)


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (200, Code.OK, None),
        (204, Code.OK, None),
        (302, Code.INTERNAL, Reason.UPSTREAM_GARBLED),
        (400, Code.INVALID_ARGUMENT, Reason.UPSTREAM_REJECTED),
        (401, Code.UNAUTHENTICATED, Reason.UPSTREAM_AUTH),
        (404, Code.NOT_FOUND, Reason.UPSTREAM_REJECTED),
        (429, Code.RESOURCE_EXHAUSTED, Reason.THROTTLED),
        (503, Code.UNAVAILABLE, Reason.UPSTREAM_DOWN),
    ],
)
def test_relayed_answer_is_classified_by_its_status(status: int, code: Code, reason: Reason | None):
    outcome = outcome_of_relayed(ROUTE.target, status, ())

    assert (outcome.code, outcome.reason, outcome.accepted) == (code, reason, 0)


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ((("Content-Type", "image/png"), ("content-encoding", "gzip")), ["Content-Type", "content-encoding"]),
        ((("Set-Cookie", "a"), ("Set-Cookie", "b")), ["Set-Cookie", "Set-Cookie"]),
        ((("Content-Length", "5"), ("Transfer-Encoding", "chunked"), ("Trailer", "X-T"), ("TE", "trailers")), []),
        ((("Connection", "X-A, close"), ("connection", "x-b"), ("x-a", "1"), ("X-B", "2"), ("X-C", "3")), ["X-C"]),
        ((("Keep-Alive", "timeout=5"), ("Proxy-Connection", "keep-alive"), ("Upgrade", "h2c")), []),
        ((("x-request-id", "theirs"),), []),
    ],
    ids=["of the body", "repeated", "framing", "named by Connection", "of the connection", "request id"],
)
def test_hop_by_hop_headers_are_removed(headers: Headers, kept: list[str]):
    passed = passed_headers(headers, "ours")

    assert [name for name, _ in passed] == [*kept, "X-Request-Id"]
    assert passed[-1] == ("X-Request-Id", "ours")
