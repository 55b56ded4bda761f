"""An upstream that is down, and one that rejects one report among a thousand."""

import asyncio
from pathlib import Path

import pytest

from tests.soak.queueing import deliver_the_rest, number_of, serving, until
from tests.soak.reporters import Reporters
from tests.soak.settings import LONG
from tests.soak.sink import POISON_WORDS, Sink
from tests.support.upstream import Upstream, resets

DOWN_S = 60 if LONG else 1.5
# Each failure doubles the backoff, up to a minute. The first few calls are sent together.
MAX_CALLS = 40 if LONG else 16
MAX_GROWTH_BYTES = 64 * 1_048_576


def resident_bytes(pid: int) -> int:
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
async def test_all_points_are_delivered_once_an_upstream_has_recovered(tmp_path: Path) -> None:
    sink, reporters = Sink(), Reporters()
    async with Upstream(resets) as down:
        port = int(down.host.rpartition(":")[2])
        async with serving(tmp_path, down) as gateway:
            async with reporters.reporting(8):
                reporters.address = gateway.address
                await until(lambda: len(reporters.acknowledged) > 50)
                before = resident_bytes(gateway.process.pid)
                await asyncio.sleep(DOWN_S)
            tries = len(down.received)
            retried = await gateway.metric("gateway_retried_points_total")
            await down.stop()
            async with Upstream(sink.for_gateway(0), at_once=True, port=port):
                await until(lambda: sink.taken.keys() >= reporters.acknowledged, within_s=20 + 2 * DOWN_S)
                grown = resident_bytes(gateway.process.pid) - before

    print(f"{len(reporters.acknowledged)} acknowledged, {tries=}, {retried=}, {grown=}, {sink.calls=}")
    assert reporters.rejected | reporters.unanswered == set()
    assert 2 <= tries <= MAX_CALLS
    assert retried >= tries
    assert {len(taken) for taken in sink.taken.values()} == {1}
    assert grown < MAX_GROWTH_BYTES


async def test_one_poison_report_among_a_thousand_becomes_a_dead_letter_and_999_are_delivered(tmp_path: Path) -> None:
    poison, reporters, open_now = 500, Reporters(), asyncio.Event()
    sink = Sink(poison=range(poison, poison + 1), opens=open_now)
    async with Upstream(sink.for_gateway(0), at_once=True) as upstream, serving(tmp_path, upstream) as gateway:
        reporters.address = gateway.address
        await reporters.report_each(range(1000), connections=20)
        open_now.set()
        await until(lambda: len(sink.taken) == 999)
    left = await deliver_the_rest(tmp_path, sink, 1)

    assert reporters.acknowledged == set(range(1000))
    assert sink.taken.keys() == set(range(1000)) - {poison}
    assert sink.unexplained() == {}
    assert [(number_of(point), point.message) for point in left] == [(poison, POISON_WORDS)]
    assert sink.calls < 60
