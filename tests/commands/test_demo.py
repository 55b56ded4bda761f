"""gateway demo: two processes that end with it, however it ends."""

import asyncio
import json
import os
import re
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gateway.specs.load import load
from tests.delivery.upstream import Upstream, hangs
from tests.processes import ROOT, START_S, Command, command
from tests.terminal import run

ROUTES = ("--routes", str(ROOT / "routes.d"))
PYTHON = (sys.executable, "-P")
SHOWN = [
    name for name, route in load(ROOT / "routes.d", {}, strict_environment=False).routes.items() if not route.is_relay
]
# Settings that a person may have for their own gateway.
SETTINGS = {"GATEWAY_LOG_LEVEL": "error", "GATEWAY_LOG_FORMAT": "text", "GATEWAY_DRAIN_DELAY_S": "60"}


def children_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in tasks for child in file.read_text().split()]


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if _state(pid) not in ("", "Z")]


def _state(pid: int) -> str:
    """Return the letter of a process's state: `Z` where it has ended and nobody has asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


async def line_with(demo: Command, text: str) -> str:
    while text not in (line := await demo.line()):
        assert line or demo.pid in alive([demo.pid]), demo.log
    return line


@asynccontextmanager
async def running(*route: str) -> AsyncIterator[tuple[Command, list[str], list[int]]]:
    """Run a demo until it shows its curl line; yield it, that line in words, and its children."""
    async with command("demo", *route, "--port", "0", *ROUTES, environ=SETTINGS) as demo:
        curl = shlex.split(await line_with(demo, "curl "))
        children = children_of(demo.pid)
        try:
            assert len(children) == 2
            yield demo, curl, children
        finally:
            for child in alive(children):
                os.kill(child, signal.SIGKILL)


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
    async with running() as (demo, curl, _):
        reply = await post(curl)
        printed = sorted([await line_with(demo, "  "), await demo.line()])
        refusal = await post(curl, session="wrong")
        refused = await line_with(demo, "gateway   ")

    assert (reply, refusal["error"]["code"]) == ({}, "ID.1001")
    assert printed[0].startswith("gateway   OK  ")
    assert json.loads(printed[1].removeprefix("stand-in  "))["metric"] == "UserDefinedName"
    assert refused.startswith("gateway   UNAUTHENTICATED UNKNOWN_KEY what was presented is not known or has ended  ")


async def test_a_data_point_longer_than_a_pipe_is_printed_whole() -> None:
    async with running() as (demo, curl, _):
        long = [word.replace("value1", "x" * 500_000) for word in curl]
        reply = await post(long)
        printed = await line_with(demo, "stand-in  ")

    assert reply == {}
    assert json.loads(printed.removeprefix("stand-in  "))["attributes"] == {"label1": "x" * 500_000}


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)], ids=["INT", "TERM", "HUP"]
)
async def test_no_child_survives_a_signal_and_no_traceback_is_shown(number: int, expected: int) -> None:
    async with running() as (demo, _, children):
        demo.signal(number)
        code, _ = await demo.end()
        left = alive(children)

    assert (code, demo.log, left) == (expected, [], [])


async def test_no_child_survives_a_demo_that_is_killed() -> None:
    async with running() as (demo, _, children):
        demo.signal(signal.SIGKILL)
        await demo.end()
        async with asyncio.timeout(START_S):
            while alive(children):
                await asyncio.sleep(0.01)


async def test_no_child_survives_a_signal_during_the_start() -> None:
    async with command("demo", "--port", "0", *ROUTES) as demo:
        while not (children := children_of(demo.pid)):
            await asyncio.sleep(0.01)
        demo.signal(signal.SIGTERM)
        code, _ = await demo.end()

    assert (code, demo.log, alive(children)) == (0, [], [])


@pytest.mark.parametrize(("which", "name"), [(0, "stand-in"), (1, "gateway")])
async def test_a_child_that_ends_by_itself_ends_the_demo_in_one_line(which: int, name: str) -> None:
    async with running() as (demo, _, children):
        os.kill(sorted(children)[which], signal.SIGKILL)
        code, _ = await demo.end()
        left = alive(children)

    assert (code, demo.log, left) == (1, [f"gateway: the {name} has ended"], [])


async def test_a_taken_port_is_one_clear_line() -> None:
    async with Upstream(hangs) as taken, command("demo", *ROUTES, "--port", taken.host.partition(":")[2]) as demo:
        code, output = await demo.end()

    said = (
        f"gateway: cannot listen on {taken.host}: address already in use; choose another with --port (make run PORT=…)"
    )
    assert (code, output, demo.log) == (1, "", [said])


async def test_once_works_from_another_folder_that_holds_one_named_gateway(tmp_path: Path) -> None:
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway/__main__.py").write_text("raise SystemExit('not this one')")

    async with command("demo", "--once", "--port", "0", *ROUTES, cwd=tmp_path, python=PYTHON) as demo:
        code, output = await demo.end()

    assert (code, demo.log) == (0, [])
    assert '── the stand-in received\n{"namespace":"MyNameSpace","metric":"UserDefinedName"' in output


async def test_the_route_that_asks_for_no_host_comes_first(tmp_path: Path) -> None:
    text = (ROOT / "routes.d/zstack-to-tencent.yaml").read_text()
    hosted = text.replace("provider: zstack\n", "provider: zstack\n  match: {host: h}\n", 1)
    (tmp_path / "a.yaml").write_text(hosted.replace("route: zstack-to-tencent", "route: a", 1))
    (tmp_path / "b.yaml").write_text(text.replace("route: zstack-to-tencent", "route: b", 1))

    async with command("demo", "--once", "--port", "0", "--routes", str(tmp_path)) as demo:
        code, output = await demo.end()

    assert (code, demo.log) == (0, [])
    assert output.startswith("b: ")


async def test_once_is_1_when_the_report_is_refused(tmp_path: Path) -> None:
    route = (ROOT / "routes.d/zstack-to-tencent.yaml").read_text()
    (tmp_path / "route.yaml").write_text(route.replace("Authorization: OAuth b86c", "Authorization: OAuth b86d", 1))

    async with command("demo", "--once", "--port", "0", "--routes", str(tmp_path)) as demo:
        code, output = await demo.end()

    assert (code, demo.log) == (1, [])
    assert "HTTP/1.1 503\n" in output
    assert output.endswith("── the stand-in received\n0 of 1 data points\n")


async def test_sample_of_each_shipped_route_arrives_signed_for_now() -> None:
    two_at_once = asyncio.Semaphore(2)  # of three processes each, which take a while to start

    async def ended(route: str) -> tuple[int, list[str]]:
        async with two_at_once, command("demo", route, "--once", "--port", "0", *ROUTES) as demo:
            code, _ = await demo.end()
            return code, demo.log

    async with asyncio.TaskGroup() as tasks:
        demos = {route: tasks.create_task(ended(route)) for route in SHOWN}

    assert {route: demo.result() for route, demo in demos.items()} == dict.fromkeys(SHOWN, (0, []))


async def test_a_queued_route_is_shown_with_a_queue_of_its_own(tmp_path: Path) -> None:
    text = (ROOT / "routes.d/zstack-to-tencent.yaml").read_text().replace("mode: direct", "mode: queued")
    (tmp_path / "route.yaml").write_text(text)

    async with command("demo", "--once", "--port", "0", "--routes", str(tmp_path)) as demo:
        code, output = await demo.end()

    assert (code, demo.log) == (0, []), output


async def test_sample_that_is_signed_says_how_long_it_holds() -> None:
    async with command("demo", "jdcloud-to-zstack", "--port", "0", *ROUTES) as demo:
        assert await line_with(demo, "In another terminal") == "In another terminal within 900 s, once:"


async def test_curl_line_of_a_signed_sample_has_its_host_and_is_taken() -> None:
    async with running("huawei-cse-to-tencent") as (demo, curl, _):
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
