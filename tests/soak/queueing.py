"""Gateway processes with one queued route, one after the other on the same data folder."""

import asyncio
import re
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
LONGEST_REST_S = 600.0 if LONG else 60.0
LISTEN = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")


@dataclass(frozen=True, slots=True)
class Serving:
    """A listening gateway."""

    process: Command
    address: str
    admin: str

    async def metric(self, name: str, label: str = "") -> float:
        """Return the sum of a metric's samples that have this value of a label."""
        raw = b"GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        samples = re.findall(rf"^{name}((?:{{.*}})?) (\S+)$", (await exchange(self.admin, raw)).text, re.M)
        return sum(float(value) for labels, value in samples if not label or f'"{label}"' in labels)

    async def retry_delayed(self) -> None:
        """Make points in backoff due."""
        body = b'{"state": "queued"}'
        head = f"POST /api/queue/retry HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        raw = f"{head}X-Gateway-Admin: 1\r\nConnection: close\r\n\r\n".encode() + body
        assert (await exchange(self.admin, raw)).status == 200


@asynccontextmanager
async def starting(
    folder: Path, upstream: Upstream | None, *options: str, python: Sequence[str] = (sys.executable,)
) -> AsyncIterator[Command]:
    """Run `gateway serve` on the folder, without waiting until it listens."""
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
    """Return all points in the folder of a stopped gateway."""
    async with open_store(data_of(folder)) as store:
        return await store.points(PointFilter(), limit=1_000_000)


async def deliver_the_rest(folder: Path, sink: Sink, gateway: int) -> list[StoredPoint]:
    """Run a gateway until it has delivered all queued points, without waiting for backoffs; return the dead letters."""
    upstream = Upstream(sink.for_gateway(gateway), at_once=True)
    async with upstream, serving(folder, upstream) as serves, asyncio.timeout(LONGEST_REST_S):
        while await serves.metric("gateway_queue_points") > await serves.metric("gateway_queue_points", "dead_letter"):
            await serves.retry_delayed()
            await asyncio.sleep(0.1)
        serves.process.signal(signal.SIGTERM)
        assert await serves.process.gone() == 0
    left = await kept(folder)
    assert {point.state for point in left} <= {State.DEAD_LETTER}
    return left


def number_of(point: StoredPoint) -> int:
    assert isinstance(point.point, dict)
    return int(point.point["value"])


async def until(holds: Callable[[], bool], *, within_s: float = 20) -> None:
    async with asyncio.timeout(within_s):
        while not holds():
            await asyncio.sleep(0.02)
