"""The gateway as people run it: real processes, real signals, exit codes."""

import asyncio
import base64
import hashlib
import hmac
import json
import resource
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.logs import CLOSE_S
from tests.support.caller import Reply, call, exchange
from tests.support.gateway import ENVIRON, KEY, KEY_ID, SAMPLE, SAMPLE_SENT, SESSION, raw_report, says
from tests.support.processes import ROOT, Command, command
from tests.support.upstream import Behaviour, Upstream, hangs

SERVE = ("serve", "--routes", "routes.d", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")


@asynccontextmanager
async def serving(upstream: Upstream, *options: str) -> AsyncIterator[tuple[Command, str, str]]:
    """Run `gateway serve` with the shipped route; give it, the address of reporters, and the admin port's."""
    async with command(*SERVE, *options, environ=ENVIRON | {"TENCENT_URL": upstream.url}) as gateway:
        listening = await gateway.event("listening")
        yield gateway, listening["address"], listening["admin"]


async def get(address: str, path: str) -> Reply:
    return await exchange(address, f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())


async def until_received(upstream: Upstream, number: int) -> None:
    async with asyncio.timeout(10):
        while len(upstream.received) < number:
            await asyncio.sleep(0.01)


async def until_in_flight(admin: str, number: int) -> None:
    async with asyncio.timeout(10):
        while f'reports_in_flight{{route="zstack-to-tencent"}} {number}.0' not in (await get(admin, "/metrics")).text:
            await asyncio.sleep(0.01)


def answers_when(event: asyncio.Event) -> Behaviour:
    """Take a report once the event is set."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await event.wait()
        await says(0)(reader, writer)

    return behave


async def is_open(address: str) -> bool:
    try:
        await get(address, "/")
    except OSError:
        return False
    return True


# What is sent.


async def test_server_built_from_the_vendors_page_accepts_our_calls() -> None:
    async with Upstream(says(0)) as upstream, serving(upstream) as (_, address, _):
        reply = await exchange(address, raw_report())
        [raw] = upstream.received

    head, _, body = raw.partition(b"\r\n\r\n")
    sent = json.loads(body)
    signed = "&".join(
        f"{name}={value}"
        for name, value in [
            ("Action", "PutMonitorData"),
            ("Nonce", sent["Nonce"]),
            ("Region", sent["Region"]),
            ("SecretId", sent["SecretId"]),
            ("Timestamp", sent["Timestamp"]),
        ]
    )
    text = "POST" + "receiver.monitor.tencentyun.com" + "/v2/index.php" + "?" + signed
    digest = hmac.new(b"the-key-of-an-id", text.encode(), hashlib.sha1).digest()
    assert head.startswith(b"POST /v2/index.php HTTP/1.1\r\n")
    assert sent["Signature"] == base64.b64encode(digest).decode()
    assert (type(sent["Nonce"]), type(sent["Timestamp"])) == (int, int)
    assert {name: sent[name] for name in SAMPLE_SENT} == SAMPLE_SENT
    assert (reply.status, reply.body) == (200, b"{}")


async def test_the_log_has_one_line_a_report_with_neither_secret_nor_body() -> None:
    leak = f"{KEY} and {SESSION}"
    async with (
        Upstream(says(1013, leak)) as upstream,
        serving(upstream, "--log-level", "debug") as (gateway, address, _),
    ):
        await exchange(address, raw_report(SAMPLE, "X-Request-Id: theirs\u2028"))
        await exchange(address, raw_report(session="OAuth another-session"))
        await exchange(address, raw_report(SAMPLE[:-1]))
        gateway.signal(signal.SIGTERM)
        await gateway.end()

    entries = [json.loads(line) for line in gateway.log]
    reports = [entry for entry in entries if entry["event"] == "report"]
    everything = "\n".join(gateway.log)
    assert [entry["event"] for entry in entries] == ["listening", *["report"] * 3, "stopping", "stopped"]
    assert [entry["reason"] for entry in reports] == ["UPSTREAM_REJECTED", "UNKNOWN_KEY", "NOT_PARSED"]
    assert reports[0].items() >= {"route": "zstack-to-tencent", "peer": "127.0.0.1", "message": "*** and ***"}.items()
    for secret in (KEY, SESSION, "another-session", "UserDefinedName", "label1", "Signature"):
        assert secret not in everything


# The commands together.


async def test_a_report_goes_through_the_gateway_to_a_stand_in() -> None:
    secrets = ENVIRON | {"REPORTED": SESSION}
    sink_options = ("--listen", "127.0.0.1:0", "--key", KEY_ID, "--secret", "env:TENCENT_SECRET_KEY")
    async with command("sink", "tencent-receiver", *sink_options, environ=secrets) as sink:
        target = f"http://{(await sink.event('listening'))['address']}"
        async with command(*SERVE, environ=secrets | {"TENCENT_URL": target}) as gateway:
            url = f"http://{(await gateway.event('listening'))['address']}"
            async with command("report", "zstack", "--url", url, "--secret", "env:REPORTED", environ=secrets) as report:
                code, output = await report.end()
        arrived = json.loads(await sink.line())

    assert (code, output.partition(" data")[0]) == (0, "OK: 1")
    assert (arrived["metric"], arrived["value"]) == ("gateway.test", 1)


# The end.


async def test_sigterm_under_load_answers_every_report_that_was_sent() -> None:
    answer = asyncio.Event()
    async with Upstream(answers_when(answer)) as upstream, serving(upstream) as (gateway, address, admin):
        async with asyncio.TaskGroup() as tasks:
            replies = [tasks.create_task(exchange(address, raw_report())) for _ in range(40)]
            await until_in_flight(admin, 40)
            gateway.signal(signal.SIGTERM)
            await gateway.event("stopping")
            await asyncio.sleep(0.1)
            answer.set()
        code, _ = await gateway.end()

    assert [reply.result().status for reply in replies] == [200] * 40
    assert code == 0
    assert json.loads(gateway.log[-1])["event"] == "stopped"


async def test_sigterm_exits_within_the_grace_period_of_a_hanging_upstream() -> None:
    async with Upstream(hangs) as upstream, serving(upstream, "--grace-s", "0.2") as (gateway, address, _):
        left = asyncio.get_running_loop().create_task(exchange(address, raw_report()))
        await until_received(upstream, 1)
        gateway.signal(signal.SIGTERM)
        async with asyncio.timeout(4):
            code, _ = await gateway.end()
        with pytest.raises(asyncio.IncompleteReadError):
            await left

    assert code == 0


async def test_readyz_fails_while_draining_and_reports_are_accepted() -> None:
    async with Upstream(says(0)) as upstream, serving(upstream, "--drain-delay-s", "20") as (gateway, address, admin):
        before = await get(admin, "/readyz")
        gateway.signal(signal.SIGTERM)
        await gateway.event("stopping")
        during, alive = await get(admin, "/readyz"), await get(admin, "/healthz")
        report = await exchange(address, raw_report())

    assert [before.status, during.status, alive.status, report.status] == [200, 503, 200, 200]


@pytest.mark.parametrize(("first", "second"), [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT)])
async def test_second_signal_exits_immediately(first: int, second: int) -> None:
    async with Upstream(hangs) as upstream, serving(upstream) as (gateway, address, _), call(address) as caller:
        caller.send(raw_report())
        await until_received(upstream, 1)
        gateway.signal(first)
        await gateway.event("stopping")
        gateway.signal(second)
        async with asyncio.timeout(4):
            code, _ = await gateway.end()

    assert code == 128 + second


async def test_ctrl_c_gives_130() -> None:
    async with Upstream(says(0)) as upstream, serving(upstream) as (gateway, _, _):
        gateway.signal(signal.SIGINT)
        code, _ = await gateway.end()

    assert code == 130


# What the person must fix.


@pytest.mark.parametrize("option", ["--listen", "--admin"])
async def test_a_taken_port_is_one_clear_line(option: str) -> None:
    async with Upstream(hangs) as taken, command(*SERVE, option, taken.host, environ=ENVIRON) as gateway:
        code, _ = await gateway.end()

    [line] = gateway.log
    assert code == 1
    assert line.startswith("gateway: cannot listen on ")
    assert taken.host in line
    assert "in use" in line


async def test_unset_variables_are_diagnostics() -> None:
    async with command(*SERVE) as gateway:
        code, output = await gateway.end()

    *diagnostics, last = gateway.log
    names = ("ZSTACK_SESSION", "TENCENT_SECRET_ID", "TENCENT_SECRET_KEY")
    assert (code, output) == (1, "")
    assert last.startswith("gateway: ")
    of_one_route = [line for line in diagnostics if line.startswith("routes.d/zstack-to-tencent.yaml:")]
    for name, line in zip(names, of_one_route, strict=True):
        assert f"the environment variable {name} is not set" in line


# What is queued.


async def test_full_disk_rejects_reports_and_sets_a_metric(tmp_path: Path) -> None:
    (tmp_path / "routes.d").mkdir()
    route = Path("routes.d/zstack-to-tencent.yaml").read_text().partition("cases:")[0]
    (tmp_path / "routes.d" / "route.yaml").write_text(route.replace("mode: direct", "mode: queued"))
    options = ("--routes", str(tmp_path / "routes.d"), "--data", str(tmp_path / "data"))
    async with Upstream(says(0)) as upstream, serving(upstream, *options) as (gateway, address, admin):
        taken = await exchange(address, raw_report())
        before = (await get(admin, "/metrics")).text
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        refused = await exchange(address, raw_report())
        after = (await get(admin, "/metrics")).text

    assert (taken.status, refused.status) == (200, 503)
    assert "gateway_queue_failing 0.0" in before
    assert "gateway_queue_failing 1.0" in after


# Open files.


async def test_the_soft_limit_of_open_files_is_raised() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    python = ("sh", "-c", 'ulimit -S -n 256 && exec "$@"', "sh", sys.executable)
    async with command(*SERVE, environ=ENVIRON, python=python) as gateway:
        await gateway.event("listening")
        limits = resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE)

    assert limits == (min(8192, hard), hard)


# What blocks.


async def test_unread_log_pipe_does_not_block_the_gateway() -> None:
    """600 reports log about 200 KiB, and a pipe holds 64 KiB."""
    async with Upstream(says(0)) as upstream, serving(upstream) as (gateway, address, _):
        with gateway.unread():
            for _ in range(600):
                assert (await exchange(address, raw_report())).status == 200
            gateway.signal(signal.SIGTERM)
            async with asyncio.timeout(10):
                while await is_open(address):
                    await asyncio.sleep(0.05)
            await asyncio.sleep(CLOSE_S * 3)  # longer than closing waits
        code, _ = await gateway.end()

    assert code == 0


STUCK = """
import asyncio, threading, time
from gateway.app import Gateway, Settings
from gateway.core.vendor.routing import Snapshot
from gateway.logs import configure
from gateway.process import run, run_until_signal

class Stuck(Gateway):
    async def stop(self):
        await asyncio.to_thread(time.sleep, 60)

configure("info", "json", queued=True)
gateway = Stuck(Snapshot(), Settings(listen="127.0.0.1:0", admin=None, grace_s=0.2))
run(run_until_signal(gateway, on_ready=lambda: print("ready", flush=True), overtime_s=0.3))
"""


async def test_hanging_thread_does_not_block_the_exit() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", STUCK, stdout=PIPE, stderr=PIPE, cwd=ROOT)
    assert process.stdout is not None
    await process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(10):
        _, logged = await process.communicate()

    assert process.returncode == 1
    assert json.loads(logged.splitlines()[-1])["event"] == "stop_timed_out"
