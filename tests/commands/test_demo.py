"""gateway demo: a gateway and a stand-in vendor in one process."""

import asyncio
import json
import re
import shlex
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gateway.specs.load import load
from tests.commands.test_check import LOGGING_IN
from tests.support.processes import ROOT, Command, command
from tests.support.terminal import Ended, run

ROUTES = ("--routes", str(ROOT / "routes.d"))
PYTHON = (sys.executable, "-P")
SHOWN = [
    name for name, route in load(ROOT / "routes.d", {}, strict_environment=False).routes.items() if not route.is_relay
]
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
# Settings that a person may have for their own gateway.
SETTINGS = {"GATEWAY_LOG_LEVEL": "error", "GATEWAY_LOG_FORMAT": "text", "GATEWAY_DRAIN_DELAY_S": "60"}


async def line_with(demo: Command, text: str) -> str:
    while text not in (line := await demo.line()):
        pass
    return line


@asynccontextmanager
async def running(*route: str) -> AsyncIterator[tuple[Command, list[str]]]:
    """Run a demo until it shows its curl line; yield it, and that line in words."""
    async with command("demo", *route, "--port", "0", *ROUTES, environ=SETTINGS) as demo:
        yield demo, shlex.split(await line_with(demo, "curl "))


def once(*arguments: object) -> Ended:
    return run("demo", "--once", "--port", "0", *arguments)


async def post(curl: list[str], *, session: str | None = None) -> Any:
    """Do what the curl line says, and return what the answer's JSON holds."""
    return json.loads((await answered(curl, session=session)).partition(b"\r\n\r\n")[2])


async def answered(curl: list[str], *, session: str | None = None) -> bytes:
    method, url, body = curl[2], curl[-1], curl[curl.index("--data-binary") + 1].encode()
    headers = [value for option, value in pairwise(curl) if option == "-H"]
    headers = [re.sub("OAuth .*", f"OAuth {session}", header) if session else header for header in headers]
    _, _, address, path = url.split("/", 3)
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    headers += [] if any(header.startswith("Host:") for header in headers) else [f"Host: {address}"]
    head = [f"{method} /{path} HTTP/1.1", f"Content-Length: {len(body)}", "Connection: close"]
    writer.write("\r\n".join([*head, *headers, "", ""]).encode() + body)
    answer = await reader.read()
    writer.close()
    return answer


async def test_the_curl_line_works_and_each_exchange_is_printed() -> None:
    async with running() as (demo, curl):
        reply = await post(curl)
        printed = sorted([await line_with(demo, "  "), await demo.line()])
        refusal = await post(curl, session="wrong")
        refused = await line_with(demo, "gateway   ")

    assert (reply, refusal["error"]["code"]) == ({}, "ID.1001")
    assert printed[0].startswith("gateway   OK  ")
    assert json.loads(printed[1].removeprefix("stand-in  "))["metric"] == "UserDefinedName"
    assert refused.startswith("gateway   UNAUTHENTICATED UNKNOWN_KEY the secret or session is unknown or has expired  ")


async def test_a_data_point_longer_than_a_pipe_is_printed_whole() -> None:
    async with running() as (demo, curl):
        long = [word.replace("value1", "x" * 500_000) for word in curl]
        reply = await post(long)
        printed = await line_with(demo, "stand-in  ")

    assert reply == {}
    assert json.loads(printed.removeprefix("stand-in  "))["attributes"] == {"label1": "x" * 500_000}


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)], ids=["INT", "TERM", "HUP"]
)
async def test_a_signal_ends_it_without_a_traceback(number: int, expected: int) -> None:
    async with running() as (demo, _):
        demo.signal(number)
        code, _ = await demo.end()

    assert (code, demo.log) == (expected, [])


async def test_a_closed_output_ends_it_quietly() -> None:
    async with running() as (demo, curl):
        demo.close_output()
        reply = await post(curl)
        code = await demo.gone()

    assert (reply, code, demo.log) == ({}, 1, [])


async def test_a_route_that_changes_is_reloaded(tmp_path: Path) -> None:
    text = (ROOT / "routes.d/zstack-to-tencent.yaml").read_text()
    (tmp_path / "route.yaml").write_text(text)
    async with command("demo", "--port", "0", "--routes", str(tmp_path)) as demo:
        curl = shlex.split(await line_with(demo, "curl "))
        (tmp_path / "route.yaml").write_text(text.replace("points: {", "points: {set: {metric: \"'changed'\"}, "))
        await line_with(demo, "reloaded")
        await post(curl)
        printed = json.loads((await line_with(demo, "stand-in  ")).removeprefix("stand-in  "))

    assert printed["metric"] == "changed"


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        ended = run("demo", *ROUTES, "--port", port)

    said = f"cannot listen on 127.0.0.1:{port}: address already in use; choose another with --port (make run PORT=…)"
    assert (ended.code, ended.output, ended.complaint) == (1, "", f"gateway: {said}")


async def test_once_works_from_another_folder_that_holds_one_named_gateway(tmp_path: Path) -> None:
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway/__main__.py").write_text("raise SystemExit('not this one')")

    async with command("demo", "--once", "--port", "0", *ROUTES, cwd=tmp_path, python=PYTHON) as demo:
        code, output = await demo.end()

    assert (code, demo.log) == (0, [])
    assert '── the stand-in received\n{"namespace":"MyNameSpace","metric":"UserDefinedName"' in output


def test_the_route_that_asks_for_no_host_comes_first(tmp_path: Path) -> None:
    text = (ROOT / "routes.d/zstack-to-tencent.yaml").read_text()
    hosted = text.replace("provider: zstack\n", "provider: zstack\n  match: {host: h}\n", 1)
    (tmp_path / "a.yaml").write_text(hosted.replace("route: zstack-to-tencent", "route: a", 1))
    (tmp_path / "b.yaml").write_text(text.replace("route: zstack-to-tencent", "route: b", 1))

    ended = once("--routes", tmp_path)

    assert (ended.code, ended.errors) == (0, "")
    assert ended.output.startswith("b: ")


def test_once_is_1_when_the_report_is_rejected(tmp_path: Path) -> None:
    route = (ROOT / "routes.d/zstack-to-tencent.yaml").read_text()
    (tmp_path / "route.yaml").write_text(route.replace("Authorization: OAuth b86c", "Authorization: OAuth b86d", 1))

    ended = once("--routes", tmp_path)

    assert (ended.code, ended.errors) == (1, "")
    assert "HTTP/1.1 503\n" in ended.output
    assert ended.output.endswith("── the stand-in received\n0 of 1 data points\n")


@pytest.mark.parametrize("route", SHOWN)
def test_sample_of_each_shipped_route_arrives_signed_for_now(route: str) -> None:
    ended = once(route, *ROUTES)

    assert (ended.code, ended.errors) == (0, ""), ended.output


def test_a_queued_route_is_shown_with_a_queue_of_its_own(tmp_path: Path) -> None:
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


def test_a_route_whose_reporters_log_in_is_shown_with_a_session(tmp_path: Path) -> None:
    (tmp_path / "route.yaml").write_text(LOGGING_IN.replace("10.0.0.0/8", "127.0.0.0/8"))

    ended = once("--routes", tmp_path)

    assert (ended.code, ended.errors) == (0, ""), ended.output


async def test_sample_that_is_signed_says_how_long_it_holds() -> None:
    async with command("demo", "jdcloud-to-zstack", "--port", "0", *ROUTES) as demo:
        assert await line_with(demo, "In another terminal") == "In another terminal within 900 s, once:"


async def test_curl_line_of_a_signed_sample_has_its_host_and_is_taken() -> None:
    async with running("huawei-cse-to-tencent") as (demo, curl):
        answer = await answered(curl)
        printed = json.loads((await line_with(demo, "stand-in  ")).removeprefix("stand-in  "))

    assert "Host: cse-tencent.example" in curl
    assert answer.endswith(b"upload ok")
    assert printed["namespace"] == "CSE"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope", *ROUTES], "no route is named 'nope'; known: {known}"),
        (["--routes", "/nope"], "there is no folder /nope"),
        (["--routes", "{empty}"], "{empty} has no case with a request to show"),
    ],
    ids=["route", "folder", "no routes"],
)
def test_a_mistake_is_one_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    ended = run("demo", "--once", *[text.replace("{empty}", str(tmp_path)) for text in arguments])

    assert (ended.code, ended.output) == (1, "")
    known = ", ".join(sorted(path.stem for path in (ROOT / "routes.d").glob("*.yaml")))
    assert ended.complaint == "gateway: " + said.replace("{empty}", str(tmp_path)).replace("{known}", known)
