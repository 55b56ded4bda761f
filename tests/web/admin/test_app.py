"""The admin API, over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.core.http.request import Secret
from gateway.core.outcome.outcome import Outcome, Reason, failure
from gateway.core.vendor.routing import make_snapshot
from gateway.specs.load import Specs, load
from gateway.telemetry import Telemetry
from gateway.web.admin.answers import Refused
from gateway.web.admin.app import Admin
from gateway.web.admin.endpoints import Running as Asks
from gateway.web.admin.endpoints import endpoints
from gateway.web.admin.guard import Guard
from gateway.web.admin.openapi import Answer, Asked, Endpoint
from gateway.web.admin.probes import Probes
from gateway.web.listener import Listener, listen
from tests.support.caller import exchange
from tests.support.gateway import (
    ENVIRON,
    KEY,
    ROUTES,
    SESSION,
    TAKEN,
    TARGET,
    Running,
    raw_report,
    reloading,
    running,
    says,
)
from tests.support.upstream import Behaviour, Upstream, hangs

OURS = "X-Gateway-Admin: 1"


@asynccontextmanager
async def administered(behaviour: Behaviour = TAKEN, **settings: Any) -> AsyncIterator[Running]:
    """Run a gateway with one of the shipped routes, which can be reloaded."""
    async with Upstream(behaviour) as upstream:

        def read(folder: Path) -> Specs:
            return load(folder, ENVIRON | {"TENCENT_URL": upstream.url}, only=["zstack-to-tencent"])

        async with reloading(ROUTES, upstream, start=read, **settings) as gateway:
            yield gateway


@pytest.fixture
async def gateway() -> AsyncIterator[Running]:
    async with administered() as gateway:
        yield gateway


# What it answers.


async def test_routes_tell_what_they_are_and_what_they_did(gateway: Running) -> None:
    await gateway.send(raw_report())
    await gateway.send(raw_report(session="OAuth nope"))
    reply = await gateway.probe("/api/routes")
    [route] = reply.json["routes"]

    assert (reply.status, reply.header("content-type")) == (200, "application/json")
    assert {(call["method"], call["path"]) for call in route["calls"]} >= {("POST", TARGET)}
    assert (route["name"], route["source"]) == ("zstack-to-tencent", "zstack")
    assert (route["target"], route["host"], route["mode"]) == ("tencent-receiver", gateway.upstream.host, "direct")
    assert route["reports"] == {"OK": 1, "UNAUTHENTICATED": 1}
    assert route["points"] == {"accepted": 1, "rejected": 0}
    assert route["in_flight"] == 0


async def test_a_report_that_is_being_handled_is_in_flight() -> None:
    async with administered(hangs) as gateway, gateway.call() as caller:
        caller.send(raw_report())
        while not gateway.upstream.received:
            await asyncio.sleep(0.01)
        [route] = (await gateway.probe("/api/routes")).json["routes"]

    assert (route["in_flight"], route["reports"]) == (1, {})


async def test_the_load_of_the_start_is_the_last_one_at_first(gateway: Running) -> None:
    state = (await gateway.probe("/api/reload")).json

    assert state.items() >= {"ok": True, "cause": "start", "generation": 1, "routes": 1, "errors": 0}.items()


async def test_refused_reports_are_listed(gateway: Running) -> None:
    await gateway.send(raw_report(session="OAuth nope"))
    [line] = (await gateway.probe("/api/reports/rejected")).json["refused"]

    assert (line["route"], line["reason"]) == ("zstack-to-tencent", "UNKNOWN_KEY")


@dataclass(frozen=True)
class AGate:
    target: str = "http://b"
    key: str | None = "an-id"
    breaker: str = "open"
    opens_in_s: float = 1.23456
    cause: str = "b: no answer within 5 s"
    under_way: int = 2
    attempts: int = 7
    error: Outcome = failure(Reason.UPSTREAM_TIMEOUT, "b: no answer within 5 s")  # noqa: RUF009  # frozen
    next_attempt_in_s: float = 1.23456


class Gates:
    def states(self) -> list[AGate]:
        return [AGate()]


async def test_targets_tell_whether_they_are_called() -> None:
    asks = Asks(snapshot=lambda: make_snapshot([]), telemetry=Telemetry(), refused=list, gates=Gates())
    async with listening(endpoints(asks)) as listener:
        reply = await exchange(listener.address, asking("/api/targets"))

    [target] = reply.json["targets"]
    assert target == {
        "target": "http://b",
        "key": "an-id",
        "breaker": "open",
        "opens_in_s": 1.2,
        "cause": "b: no answer within 5 s",
        "under_way": 2,
        "attempts": 7,
        "reason": "UPSTREAM_TIMEOUT",
        "message": "b: no answer within 5 s",
        "next_attempt_in_s": 1.2,
    }


@pytest.mark.parametrize(
    "path", ["/api", "/api/routes", "/api/reload", "/api/targets", "/api/reports/rejected", "/metrics"]
)
async def test_no_answer_shows_a_secret(path: str) -> None:
    async with administered(says(1013, f"{KEY} {SESSION}"), admin_token=Secret("hush")) as gateway:
        await gateway.send(raw_report())
        await gateway.send(raw_report(session="OAuth another-session"))
        reply = await gateway.probe(path, "GET", "Authorization: Bearer hush")

    assert reply.status == 200
    assert [secret for secret in (KEY, SESSION, "another-session", "hush") if secret in reply.text] == []


async def test_a_target_that_was_called_is_listed(gateway: Running) -> None:
    before = (await gateway.probe("/api/targets")).json["targets"]
    await gateway.send(raw_report())
    [target] = (await gateway.probe("/api/targets")).json["targets"]

    assert before == []
    assert (target["target"], target["breaker"], target["under_way"]) == (gateway.upstream.url, "closed", 0)


# How it is asked.


async def test_another_path_is_told_where_the_paths_are(gateway: Running) -> None:
    reply = await gateway.probe("/api/nothing")

    assert (reply.status, reply.json["code"]) == (404, "NOT_FOUND")
    assert "/api" in reply.json["message"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("POST", "/api/routes", "GET, HEAD"), ("DELETE", "/api/reload", "GET, HEAD, POST"), ("PUT", "/api", "GET, HEAD")],
)
async def test_another_method_is_told_which_are_known(gateway: Running, method: str, path: str, allow: str) -> None:
    reply = await gateway.probe(path, method, OURS)

    assert (reply.status, reply.header("allow")) == (405, allow)


async def test_head_is_answered_without_a_body(gateway: Running) -> None:
    reply = await gateway.probe("/api/routes", "HEAD")

    assert (reply.status, reply.body) == (200, b"")


async def test_a_parameter_that_nobody_knows_is_refused(gateway: Running) -> None:
    reply = await gateway.probe("/api/routes?route=x&%ff=1")

    assert reply.status == 400
    assert "unknown parameter" in reply.json["message"]


async def test_a_head_that_is_too_large_is_refused(gateway: Running) -> None:
    reply = await gateway.probe("/api/routes", "GET", f"X-Long: {'x' * 70_000}")

    assert reply.status == 400


# Who may ask.


@pytest.mark.parametrize("headers", [[], ["Content-Type: application/json"], ["Origin: http://evil.example"]], ids=str)
async def test_a_page_of_another_site_cannot_reload(gateway: Running, headers: list[str]) -> None:
    reply = await gateway.probe("/api/reload", "POST", *headers)

    assert (reply.status, (await gateway.probe("/api/reload")).json["generation"]) == (403, 1)


async def test_a_preflight_is_not_permitted(gateway: Running) -> None:
    asks = ("Origin: http://evil.example", "Access-Control-Request-Method: POST")
    reply = await gateway.probe("/api/reload", "OPTIONS", *asks, "Access-Control-Request-Headers: x-gateway-admin")

    assert reply.status == 405
    assert [name for name, _ in reply.headers if name.startswith("access-control-")] == []


async def test_a_name_that_leads_here_by_another_dns_is_refused(gateway: Running) -> None:
    reply = await gateway.probe("/api/routes", host="evil.example")

    assert reply.status == 403
    assert "zstack" not in reply.text


async def test_with_a_token_only_who_has_it_is_answered() -> None:
    async with administered(admin_token=Secret("hush")) as gateway:
        replies = [
            await gateway.probe("/api/routes", "GET", *headers)
            for headers in ([], ["Authorization: Bearer husk"], ["Authorization: Bearer hush"])
        ]

    assert [reply.status for reply in replies] == [401, 401, 200]
    assert replies[0].header("www-authenticate") == "Bearer"


async def test_who_has_no_token_is_not_told_which_paths_there_are() -> None:
    async with administered(admin_token=Secret("hush")) as gateway:
        statuses = {(await gateway.probe(path)).status for path in ("/api", "/api/routes", "/api/nothing", "/")}

    assert statuses == {401}


async def test_off_loopback_only_probes_are_answered_without_a_token() -> None:
    async with listening([], host="0.0.0.0") as listener:
        replies = {
            path: await exchange(listener.address, asking(path, host="gateway.example"))
            for path in ("/healthz", "/readyz", "/metrics", "/api", "/api/routes", "/")
        }

    assert {path: reply.status for path, reply in replies.items()} == {
        "/healthz": 200,
        "/readyz": 200,
        "/metrics": 200,
        "/api": 403,
        "/api/routes": 403,
        "/": 403,
    }
    assert "--admin-token" in replies["/api"].json["message"]


# Its document.


def fits(schema: Mapping[str, Any], data: Any, named: Mapping[str, Any]) -> bool:
    """Hold data to what our schemas have of JSON Schema; an object has neither more nor fewer members than stated."""
    if "$ref" in schema:
        return fits(named[schema["$ref"].rpartition("/")[2]], data, named)
    if "anyOf" in schema:
        return any(fits(each, data, named) for each in schema["anyOf"])
    if "enum" in schema and data not in schema["enum"]:
        return False
    if "properties" in schema:
        return set(data) == set(schema["required"]) == set(schema["properties"]) and all(
            fits(schema["properties"][name], value, named) for name, value in data.items()
        )
    if schema.get("type") == "array":
        return isinstance(data, list) and all(fits(schema["items"], each, named) for each in data)
    if isinstance(schema.get("additionalProperties"), dict):
        return all(fits(schema["additionalProperties"], each, named) for each in data.values())
    kinds: Mapping[str, Any] = {
        "string": str,
        "integer": int,
        "number": int | float,
        "boolean": bool,
        "null": type(None),
        "object": dict,
    }
    return "type" not in schema or isinstance(data, kinds[schema["type"]])


async def test_every_path_of_the_document_answers_as_it_says(gateway: Running) -> None:
    await gateway.send(raw_report())
    await gateway.send(raw_report(session="OAuth nope"))
    document = (await gateway.probe("/api")).json
    named = document["components"]["schemas"]
    asked = [(path, method.upper()) for path, methods in document["paths"].items() for method in methods]
    replies = {(path, method): await gateway.probe(path, method, OURS) for path, method in asked}

    assert document["openapi"] == "3.1.0"
    assert asked == [
        ("/api", "GET"),
        ("/api/routes", "GET"),
        ("/api/targets", "GET"),
        ("/api/reports/rejected", "GET"),
        ("/api/queue", "GET"),
        ("/api/queue/points", "GET"),
        ("/api/queue/point", "GET"),
        ("/api/queue/retry", "POST"),
        ("/api/queue/drop", "POST"),
        ("/api/reload", "GET"),
        ("/api/reload", "POST"),
    ]
    for (path, method), reply in replies.items():
        responses = document["paths"][path][method.lower()]["responses"]
        stated = responses.get(str(reply.status), responses["default"])
        schema = stated["content"]["application/json"]["schema"]
        assert fits(schema, reply.json, named), (path, method)


async def test_a_refusal_is_as_the_document_says(gateway: Running) -> None:
    named = (await gateway.probe("/api")).json["components"]["schemas"]
    reply = await gateway.probe("/api/reload", "POST")

    assert fits(named["Problem"], reply.json, named)
    assert not fits(named["ReloadState"], reply.json, named)


async def test_what_cannot_be_reloaded_has_no_path_for_it() -> None:
    async with running() as gateway:
        paths = (await gateway.probe("/api")).json["paths"]
        reply = await gateway.reload()

    assert "/api/reload" not in paths
    assert reply.status == 404


@dataclass(frozen=True)
class Wanted:
    queue: str
    number: int = 1


async def echo(asked: Asked) -> Answer:
    return Answer([*asked.query.items(), asked.body])


LINE = Endpoint("POST", "/api/echo", echo, "Say it again.", {200: list[Any]}, Wanted, {"loud": "In capitals."})


async def test_a_line_of_the_table_is_a_path_with_its_body_and_its_parameters() -> None:
    async with listening([LINE]) as listener:
        document = (await exchange(listener.address, asking("/api"))).json["paths"]["/api/echo"]["post"]
        reply = await exchange(listener.address, asking("/api/echo?loud=1", '{"queue": "q"}'))

    assert reply.json == [["loud", "1"], {"queue": "q", "number": 1}]
    assert document["parameters"][0]["name"] == "loud"
    assert document["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Wanted"}


@pytest.mark.parametrize(
    ("body", "said"),
    [("", "EOF"), ("{", "EOF"), ("{}", "queue: "), ('{"queue": 1}', "queue: "), ("[]", "an object")],
)
async def test_a_body_that_does_not_fit_is_refused(body: str, said: str) -> None:
    async with listening([LINE]) as listener:
        reply = await exchange(listener.address, asking("/api/echo", body))

    assert reply.status == 400
    assert said in reply.json["message"]


async def test_a_body_that_is_too_large_is_refused() -> None:
    async with listening([LINE]) as listener:
        reply = await exchange(listener.address, asking("/api/echo", "x" * 70_000))

    assert reply.status == 400
    assert "larger than" in reply.json["message"]


async def test_text_that_is_not_utf_8_is_told_too() -> None:
    async def tells(asked: Asked) -> Answer:
        return Answer(Refused([{"message": "\udcff"}]))

    async with listening([Endpoint("GET", "/api/told", tells, "", {200: Refused})]) as listener:
        reply = await exchange(listener.address, asking("/api/told"))

    assert (reply.status, reply.json) == (200, {"refused": [{"message": "\udcff"}]})


def asking(path: str, body: str | None = None, *, host: str = "localhost") -> bytes:
    if body is None:
        return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    return f"POST {path} HTTP/1.1\r\nHost: {host}\r\n{OURS}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


@asynccontextmanager
async def listening(table: list[Endpoint], *, host: str = "127.0.0.1") -> AsyncIterator[Listener]:
    """Serve a table on loopback, as if it were bound to that host."""
    listener = await listen(Admin(Probes(lambda: True, Telemetry()), Guard(host), table), "127.0.0.1:0")
    try:
        yield listener
    finally:
        await listener.close(0)
