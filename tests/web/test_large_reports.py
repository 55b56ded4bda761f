"""Large and hostile reports do not block the event loop: small reports and probes are answered meanwhile."""

import asyncio
import gc
import gzip
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import pytest

from gateway.app import Gateway, Settings
from gateway.commands.roles.vendor import vendor_route
from gateway.core.context import AcceptedReport
from gateway.core.outcome.outcome import Code, Outcome
from gateway.core.vendor.relay import RelayedRequest
from gateway.core.vendor.route import Route
from gateway.core.vendor.routing import make_snapshot
from gateway.offload import share_interpreter
from gateway.specs.load import load
from tests.support.caller import Reply, exchange
from tests.support.gateway import Running, datum, raw_report, running

PROVIDERS = load(None, {}).providers
GOOD = b'{"metricName":"m","value":1,"labels":{"a":"b"}}'
# Limits in CPU time hold on a busy machine. A turn takes 50 ms.
MAX_TURN_CPU_S = 0.1
MAX_PROBE_CPU_S = 0.25


def zstack(items: bytes) -> bytes:
    return b'{"params":{"namespace":"n","data":[' + items + b"]}}"


def many(item: bytes, number: int) -> bytes:
    return b",".join([item] * number)


def scp(attributes: int, points: int) -> bytes:
    pairs = [{"key": f"k{number}", "value": {"string_value": "v"}} for number in range(attributes)]
    series = {"name": "m", "gauge": {"data_points": [{"as_int": 1, "time_unix_nano": 1}] * points}}
    resource = {"attributes": [{"key": "namespace", "value": {"string_value": "n"}}, *pairs]}
    return json.dumps({"resource_metrics": [{"resource": resource, "scope_metrics": [{"metrics": [series]}]}]}).encode()


def cse(item: dict[str, Any], number: int) -> bytes:
    members = {"appId": "a", "version": "1", "name": "n", "instance": "i", "thread": 1}
    return json.dumps(members | {"interfaces": [item] * number}).encode()


HOSTILE = {
    "zstack, 2.8 M empty items": ("zstack", zstack(many(b"{}", 2_790_000)), 503),
    "zstack, 174,760 items": ("zstack", zstack(many(GOOD, 174_760)), 503),
    "zstack, 99,000 empty items": ("zstack", zstack(many(b"{}", 99_000)), 503),
    "zstack, 24,000 empty items": ("zstack", zstack(many(b"{}", 24_000)), 503),
    "zstack, an honest report of 1 MiB": ("zstack", zstack(many(GOOD, 21_843)), 200),
    "scp, 8,000 attributes of 3,000 points": ("scp", scp(8000, 3000), 400),
    "scp, 20,000 metrics without points": (
        "scp",
        scp(0, 1).replace(b'{"name"', many(b"{}", 20_000) + b',{"name"'),
        400,
    ),
    "huawei-cse, 349,433 empty interfaces": ("huawei-cse", cse({}, 349_433), 400),
    "huawei-cse, 90,000 empty interfaces": ("huawei-cse", cse({}, 90_000), 400),
    "huawei-cse, 12,000 interfaces": ("huawei-cse", cse({"name": "x", "qps": 1}, 12_000), 200),
    "jdcloud, 349,466 empty items": ("jdcloud", b"[" + many(b"{}", 349_466) + b"]", 400),
    "jdcloud, 24,000 empty items": ("jdcloud", b"[" + many(b"{}", 24_000) + b"]", 400),
    "jdcloud, 61 levels": ("jdcloud", b"[" + many(b"[" * 61 + b"]" * 61, 3000) + b"]", 400),
}


@pytest.fixture(autouse=True)
def as_a_process_of_its_own() -> Iterator[None]:
    before = sys.getswitchinterval()
    share_interpreter()
    yield
    sys.setswitchinterval(before)
    gc.unfreeze()


class Accepting:
    async def deliver(self, route: Route, accepted: AcceptedReport, request_id: str) -> Outcome:
        return Outcome(Code.OK, accepted=len(accepted.items))

    def pass_on(self, route: Route, relayed: RelayedRequest, request_id: str) -> NoReturn:
        raise AssertionError("no route of this test is a relay")


def raw(name: str, body: bytes) -> bytes:
    form = PROVIDERS[name].receive.requests[0]  # type: ignore[union-attr]  # each of these receives
    path = form.path.replace("{", "").replace("}", "")
    lines = [f"{form.method} {path} HTTP/1.1", "Host: h", "Content-Type: application/json", "x-domain-name: d"]
    lines += ["Content-Encoding: gzip", f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


class Lag:
    """The CPU time of one turn of the event loop, and that of the process while a probe waits."""

    def __init__(self) -> None:
        self.turn_cpu_s = 0.0
        self.probe_cpu_s = 0.0
        self.replies: list[Reply] = []


@asynccontextmanager
async def watched(admin: str) -> AsyncIterator[Lag]:
    lag, ended = Lag(), asyncio.Event()

    async def turn() -> None:
        before = time.thread_time()
        while not ended.is_set():
            await asyncio.sleep(0)
            now = time.thread_time()
            lag.turn_cpu_s, before = max(lag.turn_cpu_s, now - before), now

    async def probe() -> None:
        while not ended.is_set():
            started = time.process_time()
            reply = await exchange(admin, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            lag.probe_cpu_s = max(lag.probe_cpu_s, time.process_time() - started)
            lag.replies.append(reply)
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(turn())
        tasks.create_task(probe())
        try:
            yield lag
        finally:
            ended.set()


@pytest.mark.parametrize("which", HOSTILE)
async def test_no_report_blocks_the_event_loop(which: str) -> None:
    name, body, status = HOSTILE[which]
    request = raw(name, gzip.compress(body, 6))
    settings = Settings(listen="127.0.0.1:0", admin="127.0.0.1:0", grace_s=0)
    gateway = Gateway(make_snapshot([vendor_route(PROVIDERS[name], None, {})]), settings, delivery=Accepting())
    await gateway.start()
    try:
        async with watched(gateway.admin_address) as lag:
            reply = await exchange(gateway.address, request)
    finally:
        await gateway.stop()

    print(f"{which}: {lag.turn_cpu_s * 1000:.0f} ms in one turn, probes within {lag.probe_cpu_s * 1000:.0f} ms")
    assert reply.status == status, reply.body[:200]
    assert len(reply.body) < 1_000_000
    assert lag.turn_cpu_s < MAX_TURN_CPU_S
    assert lag.probe_cpu_s < MAX_PROBE_CPU_S
    assert {probe.status for probe in lag.replies} == {200}


async def timed(gateway: Running) -> float:
    """Send a small report, and return the CPU time of the process until its answer."""
    started = time.process_time()
    reply = await gateway.send(raw_report(datum()))
    assert reply.status == 200
    return time.process_time() - started


async def test_a_valid_report_of_1_mib_is_delivered_while_small_ones_pass() -> None:
    async with running() as gateway, watched(gateway.gateway.admin_address) as lag, asyncio.TaskGroup() as tasks:
        large = tasks.create_task(gateway.send(raw_report(zstack(many(GOOD, 21_843)))))
        small = [await timed(gateway) for _ in range(20)]
        reply = await large

    assert reply.status == 200
    assert max(small) < MAX_PROBE_CPU_S
    assert lag.turn_cpu_s < MAX_TURN_CPU_S
