"""Gateways as processes whose one route is queued, one after the other on the same folder."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.delivery.queue import PointFilter, State, StoredPoint
from tests.soak.settings import LONG
from tests.soak.sink import Sink
from tests.support.caller import exchange
from tests.support.gateway import ENVIRON, NOWHERE
from tests.support.points import open_store
from tests.support.processes import Command, command
from tests.support.upstream import Upstream

ROUTE = """
route: numbers
receive:
  provider: zstack
  credentials: [{secret: "${ZSTACK_SESSION}"}]
  from: [127.0.0.0/8]
points: {allow_loss: [time_ns]}
send:
  provider: tencent-receiver
  url: ${UPSTREAM}
  credential: {key: "${TENCENT_SECRET_ID}", secret: "${TENCENT_SECRET_KEY}"}
  given: {region: sh}
delivery: {mode: queued, timeout_s: 3}
"""
QUIET_S = 0.4
LONGEST_REST_S = 600.0 if LONG else 60.0
LISTEN = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")


@dataclass(frozen=True, slots=True)
class Serving:
    """A gateway that listens."""

    process: Command
    address: str
    admin: str

    async def metric(self, name: str) -> float:
        """Return the sum of a metric's samples."""
        raw = b"GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        lines = (await exchange(self.admin, raw)).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


@asynccontextmanager
async def starting(
    folder: Path, upstream: Upstream | None, *options: str, python: Sequence[str] = (sys.executable,)
) -> AsyncIterator[Command]:
    """Run `gateway serve` on the folder, whether it comes to listen or not."""
    routes = folder / "routes"
    routes.mkdir(exist_ok=True)
    (routes / "numbers.yaml").write_text(ROUTE)
    arguments = ("serve", "--routes", str(routes), "--data", str(data_of(folder)), *LISTEN, *options)
    async with command(
        *arguments, environ=ENVIRON | {"UPSTREAM": upstream.url if upstream else NOWHERE}, python=python
    ) as process:
        yield process


@asynccontextmanager
async def serving(
    folder: Path, upstream: Upstream | None, *options: str, python: Sequence[str] = (sys.executable,)
) -> AsyncIterator[Serving]:
    async with starting(folder, upstream, *options, python=python) as process:
        listening = await process.event("listening")
        async with process.followed():
            yield Serving(process, listening["address"], listening["admin"])


def data_of(folder: Path) -> Path:
    return folder / "data"


async def kept(folder: Path) -> list[StoredPoint]:
    """Return all that lies in the folder, whose gateway has ended."""
    async with open_store(data_of(folder)) as store:
        return await store.points(PointFilter(), limit=1_000_000)


async def deliver_the_rest(folder: Path, sink: Sink, gateway: int) -> list[StoredPoint]:
    """Run gateways that are left alone until nothing waits any more; return what is left, all of them dead letters."""
    async with asyncio.timeout(LONGEST_REST_S):
        while True:
            upstream = Upstream(sink.for_gateway(gateway), at_once=True)
            async with upstream, serving(folder, upstream) as serves:
                await until_quiet(sink)
                serves.process.signal(signal.SIGTERM)
                assert await serves.process.gone() == 0
            left = await kept(folder)
            if all(point.state is State.DEAD_LETTER for point in left):
                return left
            gateway += 1


async def until_quiet(sink: Sink) -> None:
    calls = -1
    while calls != sink.calls:
        calls = sink.calls
        await asyncio.sleep(QUIET_S)


def number_of(point: StoredPoint) -> int:
    assert isinstance(point.point, dict)
    return int(point.point["value"])


async def until(holds: Callable[[], bool], *, within_s: float = 20) -> None:
    async with asyncio.timeout(within_s):
        while not holds():
            await asyncio.sleep(0.02)
