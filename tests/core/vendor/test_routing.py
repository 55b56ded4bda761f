from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.http.received import ReceivedRequest
from gateway.core.http.request import Headers, Request, Secret
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.model import Recipe
from gateway.core.vendor.matching import RequestMatcher
from gateway.core.vendor.route import Route
from gateway.core.vendor.routing import ambiguous_calls, choose_by_key_id, make_snapshot
from tests.support.specs import recipe, stand_in


def listening(name: str, *calls: str, ignore_case: bool = False) -> Route:
    more = ", ignore_case: true" if ignore_case else ""
    requests = ", ".join(
        f"r{number}: {{method: {call.split()[0]}, path: '{call.split()[1]}'{more}}}"
        for number, call in enumerate(calls)
    )
    text = f"""
provider: {name}
receive:
  requests: {{{requests}}}
  verify: [session]
  each: {{item: body}}
  point: {{metric: item.m, value: item.v}}
send: {{item: metric, request: {{method: POST, path: /, sign: session}}}}
"""
    return stand_in(text)


ROUTES = [
    listening("fixed", "POST /a/b", "PUT /a/b", "GET /c"),
    listening("capturing", "POST /a/{one}", "GET /v1/{one}/x/{two}", "POST /p.q/{one}"),
    listening("other", "DELETE /c", "GET /a/{name}"),
    listening("rest", "POST /job/{rest*}", "POST /job/{name}/x", "GET /all-{rest*}"),
    listening("any-case", "POST /Fixed/Path", "POST /Sub/{id}/Metrics", "GET /Sub/{rest*}", ignore_case=True),
    listening("exact", "POST /FIXED/PATH"),
]


@pytest.mark.parametrize(
    ("call", "route", "form", "captured"),
    [
        pytest.param("POST /a/b", "fixed", "r0", {}, id="fixed before captured"),
        pytest.param("PUT /a/b", "fixed", "r1", {}, id="second method of a path"),
        pytest.param("DELETE /c", "other", "r0", {}, id="same path on two routes"),
        pytest.param("POST /a/x", "capturing", "r0", {"one": "x"}, id="captured"),
        pytest.param("GET /a/x", "other", "r1", {"name": "x"}, id="captured by another route for another method"),
        pytest.param("GET /v1/a%2Fb/x/ä", "capturing", "r1", {"one": "a/b", "two": "ä"}, id="two captured, decoded"),
        pytest.param("POST /p.q/x", "capturing", "r2", {"one": "x"}, id="dot"),
        pytest.param("POST /job/a", "rest", "r0", {"rest": "a"}, id="rest of one segment"),
        pytest.param("POST /job/a/b%2Fc/", "rest", "r0", {"rest": "a/b/c/"}, id="rest of several segments"),
        pytest.param("POST /job/a/x", "rest", "r1", {"name": "a"}, id="fixed number of segments before rest"),
        pytest.param("GET /all-a/b", "rest", "r2", {"rest": "a/b"}, id="rest that begins within a segment"),
        pytest.param("PUT /job/a/b", "rest", None, {"rest": "a/b"}, id="wrong method of rest"),
        pytest.param("POST /fixed/PATH", "any-case", "r0", {}, id="fixed in another case"),
        pytest.param("POST /FIXED/PATH", "exact", "r0", {}, id="exact before any case"),
        pytest.param("POST /sUB/Ab/mETRICS", "any-case", "r1", {"id": "Ab"}, id="captured unchanged in any case"),
        pytest.param("GET /SUB/A/b", "any-case", "r2", {"rest": "A/b"}, id="rest in any case"),
        pytest.param("PATCH /a/b", "fixed", None, {}, id="wrong method"),
        pytest.param("PATCH /a/x", "capturing", None, {"one": "x"}, id="wrong method of a captured path"),
        pytest.param("post /a/b", "fixed", None, {}, id="method in lower case"),
    ],
)
def test_request_finds_its_route(call: str, route: str, form: str | None, captured: dict[str, str]):
    match = make_snapshot(ROUTES).match(Request(*call.split()))

    assert match is not None
    assert match.route.name == route
    assert (match.form.name if match.form else None) == form
    assert match.captured == captured


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/a",
        "/a/",
        "/a/b/",
        "//a/b",
        "/a/x/y",
        "/A/b",
        "/pxq/x",
        "/v1//x/y",
        "",
        "/job",
        "/job/",
        "/sub",
    ],
)
def test_unknown_path_matches_no_route(path: str):
    assert make_snapshot(ROUTES).match(Request("POST", path)) is None


@pytest.mark.parametrize(
    ("more", "target", "host"),
    [
        pytest.param(lambda number: {"path": f"/p{number}"}, "/p7/a", "h", id="path"),
        pytest.param(lambda number: {"match": RequestMatcher({"host": (f"h{number}",)})}, "/a", "h7:80", id="host"),
        pytest.param(lambda number: {"pins": {"one": f"{number}%"}}, "/v1/7%25/x", "h", id="pinned value"),
        pytest.param(lambda number: {"path": f"/p{number}"}, "/P7/ANY", "h", id="path in any case"),
    ],
)
def test_cost_does_not_grow_with_the_number_of_routes(more: Callable[[int], dict[str, Any]], target: str, host: str):
    route = listening("r", "GET /a", "GET /v1/{one}/x")
    if target.isupper():
        route = listening("r", "GET /any", ignore_case=True)
    routes = [replace(route, name=f"r{n}", source=replace(route.source, **more(n))) for n in range(200)]
    snapshot, request = make_snapshot(routes), Request("GET", target, (("Host", host),))

    match = snapshot.match(request)

    assert match is not None
    assert match.route.name == "r7"
    assert len(snapshot._candidates(request)) == 1


@pytest.mark.parametrize(
    ("path", "given", "request_path", "found"),
    [
        ("/job/{rest*}", "a/b", "/job/a/b", True),
        ("/job/{rest*}", "a/b", "/job/a/c", False),
        ("/Job/{rest*}", "a/b", "/job/A/B", True),
        ("/Job/{rest}/x", "a", "/JOB/A/X", True),
        ("/Job/{rest}/x", "a", "/JOB/B/X", False),
    ],
)
def test_pinned_value_is_compared_as_the_path(path: str, given: str, request_path: str, found: bool):
    route = listening("r", f"GET {path}", ignore_case="J" in path)
    pinned = replace(route, source=replace(route.source, pins={"rest": given}))

    assert (make_snapshot([pinned]).match(Request("GET", request_path)) is not None) is found


def test_empty_snapshot_matches_no_request():
    assert make_snapshot([]).match(Request("GET", "/")) is None


def test_route_lists_the_secrets_of_both_sides():
    route = ROUTES[0]
    route = replace(route, target=replace(route.target, credential=Credential(Secret("mine"))))

    assert [secret.reveal() for secret in route.secrets] == ["case-secret", "mine"]
    assert "mine" not in repr(route)


def wishing(name: str, wishes: dict[str, tuple[str, ...]], path: str = "") -> Route:
    route = stand_in(KEYED.replace("NAME", name))
    return replace(route, source=replace(route.source, match=RequestMatcher(wishes), path=path))


def by_either(route: Route, other: Recipe) -> Route:
    """Return the route with a second recipe."""
    (check,) = route.source.verifiers or ()
    return replace(route, source=replace(route.source, verifiers=(check, replace(check, recipe=other))))


KEYED = """
provider: NAME
receive:
  requests:
    typed: {method: POST, path: /, body: json, match: {type: application/json}}
    acting: {method: POST, path: /, match: {query: {Action: [Put, Post]}}}
  verify: [keyed]
  each: {item: body}
  point: {metric: item.m, value: item.v}
send: {item: metric, request: {method: POST, path: /, sign: keyed}}
"""
JSON = (("Content-Type", "application/json"),)


@pytest.mark.parametrize(
    ("query", "headers", "form"),
    [
        pytest.param("", JSON, "typed", id="type"),
        pytest.param("?Action=Put", (), "acting", id="query"),
        pytest.param("?Action=Put", JSON, "typed", id="the first that fits"),
        pytest.param("?Action=Get", (), None, id="none that fits"),
    ],
)
def test_calls_of_one_path_are_selected_by_conditions(query: str, headers: Headers, form: str | None):
    match = make_snapshot([wishing("acme", {})]).match(Request("POST", "/" + query, headers))

    assert match is not None
    assert (match.form.name if match.form else None) == form


@pytest.mark.parametrize(
    ("call", "allow"),
    [
        pytest.param("PATCH /a/b", ("POST", "PUT"), id="two of one route"),
        pytest.param("PATCH /c", ("DELETE", "GET"), id="of two routes"),
        pytest.param("PATCH /a/x", ("GET", "POST"), id="of paths that capture"),
        pytest.param("GET /c", (), id="none where the method is known"),
    ],
)
def test_wrong_method_lists_the_methods_of_the_path(call: str, allow: tuple[str, ...]):
    match = make_snapshot(ROUTES).match(Request(*call.split()))

    assert match is not None
    assert match.allow == allow


def test_wrong_method_error_names_the_allowed_methods():
    match = make_snapshot(ROUTES).match(Request("PATCH", "/c"))
    assert match is not None

    with pytest.raises(CallerError) as caught:
        match.expect_call("PATCH")

    assert caught.value.outcome.allow == ("DELETE", "GET")


@pytest.mark.parametrize(
    ("headers", "unmet"),
    [
        ((), "the media type is missing, and 'application/json' is expected"),
        ((("Content-Type", "text/plain"),), "the media type is 'text/plain', and 'application/json' is expected"),
    ],
    ids=["missing", "another value"],
)
def test_failed_condition_is_described(headers: Headers, unmet: str):
    match = make_snapshot([wishing("acme", {})]).match(Request("POST", "/", headers))
    assert match is not None

    with pytest.raises(CallerError) as caught:
        match.expect_call("POST")

    assert caught.value.outcome.message == f"no call of this path matches: {unmet}"


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        pytest.param(Request("POST", "/"), Reason.UNKNOWN_CALL, id="no call looks like it"),
        pytest.param(Request("GET", "/"), Reason.WRONG_METHOD, id="no call has the method"),
    ],
)
def test_request_that_matches_no_call_of_its_route_is_rejected(request_: Request, reason: Reason):
    match = make_snapshot([wishing("acme", {})]).match(request_)
    assert match is not None

    with pytest.raises(CallerError) as caught:
        match.expect_call(request_.method)

    assert caught.value.outcome.reason is reason


@pytest.mark.parametrize(
    ("host", "route"),
    [
        pytest.param("a.example", "a", id="its host"),
        pytest.param("A.example:80", "a", id="its host with a port"),
        pytest.param("x.b.example", "b", id="a host that a pattern fits"),
        pytest.param("c.example", "rest", id="any other host"),
    ],
)
def test_routes_with_equal_calls_are_selected_by_host(host: str, route: str):
    routes = [wishing("rest", {}), wishing("b", {"host": ("*.b.example",)}), wishing("a", {"host": ("a.example",)})]

    match = make_snapshot(routes).match(Request("POST", "/", (*JSON, ("Host", host))))

    assert match is not None and match.route.name == route


@pytest.mark.parametrize(
    ("key", "route"),
    [
        pytest.param("k1", "one", id="its key"),
        pytest.param("k2", "two", id="another's key"),
        pytest.param("k3", "rest", id="no one's key"),
        pytest.param(None, "rest", id="no key"),
    ],
)
def test_routes_with_equal_calls_are_selected_by_key_id(key: str | None, route: str):
    routes = [wishing("rest", {}), wishing("one", {"key": ("k1",)}), wishing("two", {"key": ("k2",)})]
    headers = JSON if key is None else (*JSON, ("Authorization", f"{key}:secret"))
    request = Request("POST", "/", headers)

    match = make_snapshot(routes).match(request)

    assert match is not None
    assert choose_by_key_id(match, ReceivedRequest(request, "json")).route.name == route


def test_unknown_key_id_selects_the_first_route():
    routes = [wishing("one", {"key": ("k1",)}), wishing("two", {"key": ("k2",)})]
    request = Request("POST", "/", (*JSON, ("Authorization", "k3:secret")))

    match = make_snapshot(routes).match(request)

    assert match is not None
    assert choose_by_key_id(match, ReceivedRequest(request, "json")).route.name == "one"


def test_route_is_selected_by_the_key_id_that_is_verified():
    other = recipe("""
recipe: other
slots: {id: {kind: key}, password: {kind: secret}}
carry: [{header: x-other, value: "{id}:{password}"}]
""")
    routes = [by_either(wishing(name, {"key": (key,)}), other) for name, key in (("one", "k1"), ("two", "k2"))]
    request = Request("POST", "/", (*JSON, ("Authorization", "k2:secret"), ("X-Other", "k1:any")))

    match = make_snapshot(routes).match(request)

    assert match is not None
    assert choose_by_key_id(match, ReceivedRequest(request, "json")).route.name == "two"


def test_path_prefix_of_a_route_applies_to_its_calls():
    snapshot = make_snapshot([wishing("acme", {}, path="/team-a")])

    assert snapshot.match(Request("POST", "/team-a/", JSON)) is not None
    assert snapshot.match(Request("POST", "/", JSON)) is None


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        pytest.param({}, {}, False, id="nothing asked for"),
        pytest.param({"host": ("a",)}, {"host": ("b",)}, True, id="two hosts"),
        pytest.param({"host": ("a",)}, {}, True, id="one asks for more"),
        pytest.param({"host": ("a",)}, {"key": ("k",)}, False, id="each asks for something else"),
        pytest.param({"host": ("a",)}, {"host": ("a",)}, False, id="the same host"),
        pytest.param({"type": ("text/plain",)}, {"type": ("text/plain",)}, False, id="the type of no call"),
    ],
)
def test_routes_overlap_unless_their_conditions_are_disjoint(
    one: dict[str, tuple[str, ...]], other: dict[str, tuple[str, ...]], apart: bool
):
    assert (not list(ambiguous_calls([wishing("one", one), wishing("other", other)]))) is apart


def test_routes_with_different_prefixes_do_not_overlap():
    assert list(ambiguous_calls([wishing("one", {}, path="/a"), wishing("other", {}, path="/b")])) == []
