from dataclasses import replace

import pytest

from gateway.core.model import Secret
from gateway.core.recipe.keyring import Credential
from gateway.core.route import Route, make_snapshot
from tests.built import stand_in


def listening(name: str, *calls: str) -> Route:
    requests = ", ".join(
        f"r{number}: {{method: {call.split()[0]}, path: '{call.split()[1]}'}}" for number, call in enumerate(calls)
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
        pytest.param("PATCH /a/b", "fixed", None, {}, id="wrong method"),
        pytest.param("PATCH /a/x", "capturing", None, {"one": "x"}, id="wrong method of a captured path"),
        pytest.param("post /a/b", "fixed", None, {}, id="method in lower case"),
    ],
)
def test_request_finds_its_route(call: str, route: str, form: str | None, captured: dict[str, str]):
    match = make_snapshot(ROUTES).match(*call.split())

    assert match is not None
    assert match.route.name == route
    assert (match.form.name if match.form else None) == form
    assert match.captured == captured


@pytest.mark.parametrize("path", ["/", "/a", "/a/", "/a/b/", "//a/b", "/a/x/y", "/A/b", "/pxq/x", "/v1//x/y", ""])
def test_path_of_no_route_matches_nothing(path: str):
    assert make_snapshot(ROUTES).match("POST", path) is None


def test_empty_snapshot_matches_nothing():
    assert make_snapshot([]).match("GET", "/") is None


def test_route_knows_every_secret_of_both_sides():
    route = ROUTES[0]
    route = replace(route, target=replace(route.target, credential=Credential(Secret("mine"))))

    assert [secret.reveal() for secret in route.secrets] == ["case-secret", "mine"]
    assert "mine" not in repr(route)
