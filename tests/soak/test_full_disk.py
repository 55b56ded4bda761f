"""While a disk fills and empties under load, nothing is lost or delivered twice, without a restart."""

import asyncio
import signal
from pathlib import Path

from tests.soak.queueing import Serving, data_of, kept, serving, until
from tests.soak.reporters import Reporters
from tests.soak.sink import Sink
from tests.support.disks import fill, small_disk
from tests.support.upstream import Upstream

CONNECTIONS = 8
TIMES = 3
DISK_MIB = 24


async def until_empty(gateway: Serving) -> None:
    async with asyncio.timeout(20):
        while await gateway.metric("gateway_queue_points"):
            await asyncio.sleep(0.05)


async def test_acknowledged_points_are_delivered_once_while_the_disk_fills_and_empties(tmp_path: Path) -> None:
    reporters = Reporters()
    opens = asyncio.Event()
    opens.set()
    sink = Sink(opens=opens)
    with small_disk(data_of(tmp_path), DISK_MIB):
        async with (
            Upstream(sink.for_gateway(0), at_once=True) as upstream,
            serving(tmp_path, upstream) as gateway,
        ):
            reporters.address = gateway.address
            async with reporters.reporting(CONNECTIONS):
                for _ in range(TIMES):
                    opens.clear()  # points wait
                    before = len(reporters.acknowledged)
                    await until(lambda before=before: len(reporters.acknowledged) > before + 200)
                    others = fill(data_of(tmp_path))
                    rejected = len(reporters.rejected)
                    await until(lambda rejected=rejected: len(reporters.rejected) > rejected)
                    opens.set()
                    await until_empty(gateway)  # while the disk is full
                    others.unlink()
                    before = len(reporters.acknowledged)
                    await until(lambda before=before: len(reporters.acknowledged) > before + 50)
            await until_empty(gateway)
            gateway.process.signal(signal.SIGTERM)
            assert await gateway.process.gone() == 0
        left = await kept(tmp_path)

    print(f"{len(reporters.acknowledged)} acknowledged, {len(reporters.rejected)} rejected")
    assert left == []
    assert sink.taken.keys() == reporters.acknowledged
    assert {len(taken) for taken in sink.taken.values()} == {1}
