"""The admin API, over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.core.http.request import Response, Secret
from gateway.core.sending.target_state import TargetState
from gateway.core.vendor.routing import make_snapshot
from gateway.specs.load import Specs, load
from gateway.telemetry import Telemetry
from gateway.web.admin.app import Admin, Endpoint, Table, as_json
from gateway.web.admin.endpoints import endpoints
from gateway.web.admin.guard import Guard
from gateway.web.admin.probes import Probes
from gateway.web.admin.queue import QueueApi
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


# Replies.


async def test_routes_are_listed_with_their_counts(gateway: Running) -> None:
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


async def test_the_first_reload_result_is_that_of_the_start(gateway: Running) -> None:
    state = (await gateway.probe("/api/reload")).json

    assert state.items() >= {"ok": True, "cause": "start", "generation": 1, "routes": 1, "errors": 0}.items()


async def test_rejected_reports_are_listed(gateway: Running) -> None:
    await gateway.send(raw_report(session="OAuth nope"))
    [line] = (await gateway.probe("/api/reports/rejected")).json["rejected"]

    assert (line["route"], line["reason"]) == ("zstack-to-tencent", "UNKNOWN_KEY")


TARGET_STATE = TargetState(
    target="http://b",
    key="an-id",
    breaker="open",
    paused_for_s=1.2,
    cause="b: no answer within 5 s",
    under_way=2,
    attempts=7,
    reason="UPSTREAM_TIMEOUT",
    message="b: no answer within 5 s",
    next_attempt_in_s=1.2,
)


async def test_the_state_of_a_target_is_its_json() -> None:
    table = endpoints(
        snapshot=lambda: make_snapshot([]),
        telemetry=Telemetry(),
        rejected=list,
        targets=lambda: [TARGET_STATE],
        queue=QueueApi(),
    )
    async with listening(table) as listener:
        reply = await exchange(listener.address, asking("/api/targets"))

    [target] = reply.json["targets"]
    assert target == {
        "target": "http://b",
        "key": "an-id",
        "breaker": "open",
        "paused_for_s": 1.2,
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
async def test_no_reply_shows_a_secret(path: str) -> None:
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


# Calls.


async def test_an_unknown_path_gets_404_and_the_list_of_paths(gateway: Running) -> None:
    reply = await gateway.probe("/api/nothing")

    assert (reply.status, reply.json["code"]) == (404, "NOT_FOUND")
    assert "/api" in reply.json["message"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("POST", "/api/routes", "GET, HEAD"), ("DELETE", "/api/reload", "GET, HEAD, POST"), ("PUT", "/api", "GET, HEAD")],
)
async def test_an_unknown_method_gets_405_and_allow(gateway: Running, method: str, path: str, allow: str) -> None:
    reply = await gateway.probe(path, method, OURS)

    assert (reply.status, reply.header("allow")) == (405, allow)


async def test_head_is_answered_without_a_body(gateway: Running) -> None:
    reply = await gateway.probe("/api/routes", "HEAD")

    assert (reply.status, reply.body) == (200, b"")


async def test_an_unknown_parameter_is_rejected(gateway: Running) -> None:
    reply = await gateway.probe("/api/routes?route=x&%ff=1")

    assert reply.status == 400
    assert "unknown parameter" in reply.json["message"]


async def test_a_head_that_is_too_large_is_rejected(gateway: Running) -> None:
    reply = await gateway.probe("/api/routes", "GET", f"X-Long: {'x' * 70_000}")

    assert reply.status == 400


# Access.


@pytest.mark.parametrize("headers", [[], ["Content-Type: application/json"], ["Origin: http://evil.example"]], ids=str)
async def test_a_page_of_another_site_cannot_reload(gateway: Running, headers: list[str]) -> None:
    reply = await gateway.probe("/api/reload", "POST", *headers)

    assert (reply.status, (await gateway.probe("/api/reload")).json["generation"]) == (403, 1)


async def test_a_cors_preflight_is_rejected(gateway: Running) -> None:
    parts = ("Origin: http://evil.example", "Access-Control-Request-Method: POST")
    reply = await gateway.probe("/api/reload", "OPTIONS", *parts, "Access-Control-Request-Headers: x-gateway-admin")

    assert reply.status == 405
    assert [name for name, _ in reply.headers if name.startswith("access-control-")] == []


async def test_a_foreign_host_name_is_rejected(gateway: Running) -> None:
    reply = await gateway.probe("/api/routes", host="evil.example")

    assert reply.status == 403
    assert "zstack" not in reply.text


async def test_a_configured_token_is_required() -> None:
    async with administered(admin_token=Secret("hush")) as gateway:
        replies = [
            await gateway.probe("/api/routes", "GET", *headers)
            for headers in ([], ["Authorization: Bearer husk"], ["Authorization: Bearer hush"])
        ]

    assert [reply.status for reply in replies] == [401, 401, 200]
    assert replies[0].header("www-authenticate") == "Bearer"


async def test_callers_without_the_token_cannot_discover_paths() -> None:
    async with administered(admin_token=Secret("hush")) as gateway:
        statuses = {(await gateway.probe(path)).status for path in ("/api", "/api/routes", "/api/nothing", "/")}

    assert statuses == {401}


async def test_off_loopback_only_probes_are_available_without_a_token() -> None:
    async with listening({}, host="0.0.0.0") as listener:
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


# The list of endpoints.


async def test_every_endpoint_is_listed_and_replies_with_json(gateway: Running) -> None:
    listed = (await gateway.probe("/api")).json["endpoints"]
    statuses = {
        f"{row['method']} {row['path']}": (await gateway.probe(row["path"], row["method"], OURS)).status
        for row in listed
    }

    assert statuses == {
        "GET /api": 200,
        "GET /api/routes": 200,
        "GET /api/targets": 200,
        "GET /api/reports/rejected": 200,
        "GET /api/queue": 404,
        "GET /api/queue/points": 404,
        "GET /api/queue/count": 404,
        "GET /api/queue/point": 400,
        "POST /api/queue/retry": 400,
        "POST /api/queue/drop": 400,
        "GET /api/reload": 200,
        "POST /api/reload": 200,
    }
    assert listed[5]["query"].keys() == {"route", "target", "state", "reason", "after", "limit"}


async def test_without_reload_there_is_no_reload_path() -> None:
    async with running() as gateway:
        paths = [row["path"] for row in (await gateway.probe("/api")).json["endpoints"]]
        reply = await gateway.reload()

    assert "/api/routes" in paths
    assert "/api/reload" not in paths
    assert reply.status == 404


@dataclass(frozen=True)
class Text:
    text: str


async def echo(members: Mapping[str, Any]) -> Response:
    return as_json(list(members.items()))


ECHO: Table = {
    ("POST", "/api/echo"): Endpoint(echo, "Return the members.", {"loud": "In capitals.", "queue": "Its name."})
}


async def test_a_row_of_the_table_is_a_path_with_parameters() -> None:
    async with listening(ECHO) as listener:
        reply = await exchange(listener.address, asking("/api/echo?loud=1", '{"queue": "q"}'))

    assert reply.json == [["loud", "1"], ["queue", "q"]]


@pytest.mark.parametrize(
    ("body", "said"),
    [("", "invalid body"), ("{", "invalid body"), ('{"lout": 1}', "unknown parameter 'lout'"), ("[]", "a JSON object")],
)
async def test_an_invalid_body_is_rejected(body: str, said: str) -> None:
    async with listening(ECHO) as listener:
        reply = await exchange(listener.address, asking("/api/echo", body))

    assert reply.status == 400
    assert said in reply.json["message"]


async def test_a_body_that_is_too_large_is_rejected() -> None:
    async with listening(ECHO) as listener:
        reply = await exchange(listener.address, asking("/api/echo", "x" * 70_000))

    assert reply.status == 400
    assert "larger than" in reply.json["message"]


async def test_text_that_is_not_utf_8_is_returned() -> None:
    async def not_utf_8(members: Mapping[str, Any]) -> Response:
        return as_json([Text("\udcff")])

    async with listening({("GET", "/api/text"): Endpoint(not_utf_8, "")}) as listener:
        reply = await exchange(listener.address, asking("/api/text"))

    assert (reply.status, reply.json) == (200, [{"text": "\udcff"}])


def asking(path: str, body: str | None = None, *, host: str = "localhost") -> bytes:
    if body is None:
        return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    return f"POST {path} HTTP/1.1\r\nHost: {host}\r\n{OURS}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


@asynccontextmanager
async def listening(table: Table, *, host: str = "127.0.0.1") -> AsyncIterator[Listener]:
    """Serve a table on loopback, as if it were bound to that host."""
    listener = await listen(Admin(Probes(lambda: True, Telemetry()), Guard(host), table), "127.0.0.1:0")
    try:
        yield listener
    finally:
        await listener.close(0)
