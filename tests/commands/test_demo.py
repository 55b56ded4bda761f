"""gateway demo: a gateway and a stand-in vendor in one process."""

import asyncio
import json
import shlex
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from gateway.commands import demo
from gateway.commands.demo import Demo
from gateway.core.http.request import Request, Response
from tests.support.kinds import LOGGING_IN
from tests.support.processes import ROOT, Command, command
from tests.support.shipped import REPORTING
from tests.support.terminal import Ended, run

ROUTES = ("--routes", str(ROOT / "routes.d"))
PYTHON = (sys.executable, "-P")
TWO_POINTS = """
recipe: acme
slots: {token: {kind: secret}}
carry: [{header: x-key, value: "{token}"}]
---
provider: acme
receive:
  request: {method: POST, path: /acme, body: json}
  verify: [acme]
  each: {item: body}
  point: {metric: item.m, value: item.v}
send:
  item: {m: metric, v: value}
  request: {method: POST, path: /acme, json: items}
  sign: acme
---
route: acme-to-acme
receive: {provider: acme, credentials: [{secret: s3cret}], from: [127.0.0.0/8]}
points: {allow_loss: [time_ns]}
send: {provider: acme, url: "http://h", credential: {secret: s3cret}}
cases:
  - case: two points
    request: {json: [{m: a, v: 1}, {m: b, v: 2}]}
"""
# Settings that a user may have for another gateway.
SETTINGS = {"GATEWAY_LOG_LEVEL": "error", "GATEWAY_LOG_FORMAT": "text", "GATEWAY_DRAIN_DELAY_S": "60"}


@asynccontextmanager
async def running(route: str | None = None, routes: Path = ROOT / "routes.d") -> AsyncIterator[Demo]:
    async with demo.running(demo.trial_of(routes, route), routes, 0) as shown:
        yield shown


async def line_with(shown: Demo, text: str) -> str:
    async with asyncio.timeout(10):
        while text not in (line := await shown.lines.get()):
            pass
    return line


def once(*arguments: object) -> Ended:
    return run("demo", "--once", "--port", "0", *arguments)


async def post(shown: Demo, **changes: str) -> Response:
    """Post the sample after replacing texts in its headers and its body."""
    request = shown.sample.request
    for old, new in changes.items():
        headers = tuple((name, value.replace(old, new)) for name, value in request.headers)
        request = replace(request, headers=headers, body=request.body.replace(old.encode(), new.encode()))
    return await asyncio.to_thread(demo.post, request, shown.address, 5)


async def test_each_exchange_is_a_line_of_the_gateway_and_one_of_the_stand_in() -> None:
    async with running() as shown:
        reply = await post(shown)
        printed = sorted([await line_with(shown, "  "), await shown.lines.get()])
        rejection = await post(shown, b86c9016b4f24953a9edefb53ca0678c="wrong")
        rejected = await line_with(shown, "gateway   ")

    assert (reply.body, json.loads(rejection.body)["error"]["code"]) == (b"{}", "ID.1001")
    assert printed[0].startswith("gateway   OK  ")
    assert json.loads(printed[1].removeprefix("stand-in  "))["metric"] == "UserDefinedName"
    assert rejected.startswith(
        "gateway   UNAUTHENTICATED UNKNOWN_KEY the secret or session is unknown or has expired  "
    )


async def test_a_route_that_changes_is_reloaded(tmp_path: Path) -> None:
    text = (ROOT / "routes.d/zstack-to-tencent.yaml").read_text()
    (tmp_path / "route.yaml").write_text(text)
    async with running(routes=tmp_path) as shown:
        (tmp_path / "route.yaml").write_text(text.replace("points: {", "points: {set: {metric: \"'changed'\"}, "))
        await line_with(shown, "reloaded")
        await post(shown)
        printed = json.loads((await line_with(shown, "stand-in  ")).removeprefix("stand-in  "))

    assert printed["metric"] == "changed"


async def test_the_curl_line_of_a_signed_sample_has_its_host() -> None:
    async with running("huawei-cse-to-tencent") as shown:
        words = shlex.split(demo.curl(shown.sample.request, shown.address))
        reply = await post(shown)
        printed = json.loads((await line_with(shown, "stand-in  ")).removeprefix("stand-in  "))

    assert "Host: cse-tencent.example" in words
    assert words[-1].startswith(f"http://{shown.address}/")
    assert (reply.body, printed["namespace"]) == (b"upload ok", "CSE")


# As a process.


async def curl_of(process: Command) -> list[str]:
    while not (line := await process.line()).startswith("curl "):
        pass
    return shlex.split(line)


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)], ids=["INT", "TERM", "HUP"]
)
async def test_a_signal_ends_it_without_a_traceback(number: int, expected: int) -> None:
    async with command("demo", "jdcloud-to-zstack", "--port", "0", *ROUTES, environ=SETTINGS) as process:
        printed = [await process.line() for _ in range(3)]
        await curl_of(process)
        process.signal(number)
        code, _ = await process.end()

    assert printed[2] == "In another terminal within 900 s, once:"
    assert (code, process.log) == (expected, [])


async def test_a_closed_output_ends_it_quietly_after_the_answer() -> None:
    async with command("demo", "--port", "0", *ROUTES, environ=SETTINGS) as process:
        curl = await curl_of(process)
        process.close_output()
        reply = await post_as_curl(curl)
        code = await process.gone()

    assert (reply, code, process.log) == (b"{}", 1, [])


async def post_as_curl(words: list[str]) -> bytes:
    """Send the request of a curl line, and return the body of the answer."""
    _, _, address, path = words[-1].split("/", 3)
    headers = tuple(
        (name, value.strip())
        for option, text in pairwise(words)
        if option == "-H"
        for name, _, value in [text.partition(":")]
    )
    body = words[words.index("--data-binary") + 1].encode()
    request = Request(words[2], f"/{path}", (("Host", address), *headers), body, "http")
    return (await asyncio.to_thread(demo.post, request, address, 5)).body


async def test_once_works_from_another_folder_that_holds_one_named_gateway(tmp_path: Path) -> None:
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway/__main__.py").write_text("raise SystemExit('not this one')")

    async with command("demo", "--once", "--port", "0", *ROUTES, cwd=tmp_path, python=PYTHON) as process:
        code, output = await process.end()

    assert (code, process.log) == (0, [])
    assert '── the stand-in received\n{"namespace":"MyNameSpace","metric":"UserDefinedName"' in output


# With --once.


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        ended = run("demo", *ROUTES, "--port", port)

    said = f"cannot listen on 127.0.0.1:{port}: address already in use; choose another with --port (make run PORT=…)"
    assert (ended.code, ended.output, ended.complaint) == (1, "", f"gateway: {said}")


def test_the_route_that_asks_for_no_host_comes_first(tmp_path: Path) -> None:
    text = (ROOT / "routes.d/zstack-to-tencent.yaml").read_text()
    hosted = text.replace("provider: zstack\n", "provider: zstack\n  match: {host: h}\n", 1)
    (tmp_path / "a.yaml").write_text(hosted.replace("route: zstack-to-tencent", "route: a", 1))
    (tmp_path / "b.yaml").write_text(text.replace("route: zstack-to-tencent", "route: b", 1))

    ended = once("--routes", tmp_path)

    assert (ended.code, ended.errors) == (0, "")
    assert ended.output.startswith("b: ")


def test_once_exits_1_when_the_report_is_rejected(tmp_path: Path) -> None:
    route = (ROOT / "routes.d/zstack-to-tencent.yaml").read_text()
    (tmp_path / "route.yaml").write_text(route.replace("Authorization: OAuth b86c", "Authorization: OAuth b86d", 1))

    ended = once("--routes", tmp_path)

    assert (ended.code, ended.errors) == (1, "")
    assert "HTTP/1.1 503\n" in ended.output
    assert ended.output.endswith("── the stand-in received\n0 of 1 data points\n")


@pytest.mark.parametrize("route", REPORTING)
def test_sample_of_each_shipped_route_arrives_signed_for_now(route: str) -> None:
    ended = once(route, *ROUTES)

    assert (ended.code, ended.errors) == (0, ""), ended.output


def test_queued_route_gets_a_temporary_queue(tmp_path: Path) -> None:
    text = (ROOT / "routes.d/zstack-to-tencent.yaml").read_text().replace("mode: direct", "mode: queued")
    (tmp_path / "route.yaml").write_text(text)

    ended = once("--routes", tmp_path)

    assert (ended.code, ended.errors) == (0, ""), ended.output


def test_a_mirror_is_not_called(tmp_path: Path) -> None:
    text = (ROOT / "routes.d/zstack-to-tencent.yaml").read_text()
    mirror = """mirrors:
- mirror: m
  provider: tencent-receiver
  url: "http://127.0.0.1:PORT"
  credential: {key: k, secret: s3cret}
  given: {region: sh}
"""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        (tmp_path / "route.yaml").write_text(
            text.replace("delivery:", mirror.replace("PORT", str(port)) + "delivery:", 1)
        )
        ended = once("--routes", tmp_path)
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()

    assert (ended.code, ended.errors) == (0, ""), ended.output


def test_every_data_point_of_a_case_without_points_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "route.yaml").write_text(TWO_POINTS)

    ended = once("--routes", tmp_path)

    assert (ended.code, ended.errors) == (0, ""), ended.output
    assert [json.loads(line)["metric"] for line in ended.output.splitlines()[-2:]] == ["a", "b"]


def test_sample_of_a_route_with_login_carries_a_session(tmp_path: Path) -> None:
    (tmp_path / "route.yaml").write_text(LOGGING_IN.replace("10.0.0.0/8", "127.0.0.0/8"))

    ended = once("--routes", tmp_path)

    assert (ended.code, ended.errors) == (0, ""), ended.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope", *ROUTES], "no route is named 'nope'; known: {known}"),
        (
            ["scp-image-current", *ROUTES],
            "scp-image-current is a relay; only routes with data points have a demonstration",
        ),
        (["--routes", "/nope"], "there is no folder /nope"),
        (["--routes", "{empty}"], "{empty} has no case with a request to show"),
    ],
    ids=["route", "relay", "folder", "no routes"],
)
def test_a_mistake_is_one_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    ended = run("demo", "--once", *[text.replace("{empty}", str(tmp_path)) for text in arguments])

    assert (ended.code, ended.output) == (1, "")
    known = ", ".join(sorted(path.stem for path in (ROOT / "routes.d").glob("*.yaml")))
    assert ended.complaint == "gateway: " + said.replace("{empty}", str(tmp_path)).replace("{known}", known)
