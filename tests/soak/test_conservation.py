"""No acknowledged data point is lost, none is invented, and none is delivered twice without a reason.

Reporters, gateway and upstream over real sockets. The upstream fails in all ways, and the gateway is killed repeatedly.
"""

import asyncio
import signal
from collections import Counter
from pathlib import Path
from random import Random

from tests.soak.queueing import deliver_the_rest, number_of, serving, starting
from tests.soak.reporters import Reporters
from tests.soak.settings import LONG, SEED
from tests.soak.sink import BEFORE_ACCEPTING, POISON_WORDS, Sink
from tests.support.upstream import Upstream

KILLS = 200 if LONG else 8
FAULTS_OF_A_HUNDRED = 15
POISON = range(50, 10_000_000, 200)
# A run with fewer kinds of faults goes on.
MIN_KINDS_OF_FAULTS = len(BEFORE_ACCEPTING) + 1
LONGEST_LIFE_S = 0.5
LONGEST_START_S = 1.0
CONNECTIONS = 8


async def run_and_kill(folder: Path, sink: Sink, reporters: Reporters, random: Random, number: int) -> None:
    """Run a gateway and kill it: sometimes while it starts, mostly while it listens."""
    async with Upstream(sink.for_gateway(number), at_once=True) as upstream:
        if random.random() < 0.1:
            async with starting(folder, upstream) as process:
                await asyncio.sleep(random.uniform(0, LONGEST_START_S))
                process.signal(signal.SIGKILL)
                await process.end()
            return
        async with serving(folder, upstream) as gateway:
            reporters.address = gateway.address
            await asyncio.sleep(random.uniform(0, LONGEST_LIFE_S))
            gateway.process.signal(signal.SIGKILL)
            reporters.address = None
            await gateway.process.gone()


async def test_acknowledged_points_are_delivered_or_dead_letters(tmp_path: Path) -> None:
    print(f"GATEWAY_SOAK_SEED={SEED}")
    random = Random(SEED)
    sink = Sink(SEED, faults=FAULTS_OF_A_HUNDRED, poison=POISON)
    reporters = Reporters()
    async with reporters.reporting(CONNECTIONS):
        kills = 0
        while kills < KILLS or (len(sink.failed) < MIN_KINDS_OF_FAULTS and kills < 4 * KILLS):
            await run_and_kill(tmp_path, sink, reporters, random, kills)
            kills += 1
    sink.faults = 0
    left = await deliver_the_rest(tmp_path, sink, kills)

    dead_letters = {number_of(point) for point in left}
    arrived = sink.taken.keys() | dead_letters
    with_poison = {number for report in reporters.reports for number in report if any(n in POISON for n in report)}
    twice = Counter(taken.fault or "kill" for all_taken in sink.taken.values() for taken in all_taken[:-1])
    print(f"{len(reporters.acknowledged)} acknowledged, {len(dead_letters)} dead letters, {twice=}, {sink.failed=}")
    assert reporters.acknowledged <= arrived
    assert arrived <= reporters.acknowledged | reporters.unanswered
    assert not sink.taken.keys() & dead_letters
    assert dead_letters <= with_poison
    assert {point.message for point in left} == {POISON_WORDS}
    assert sink.unexplained() == {}
    assert len(sink.failed) >= MIN_KINDS_OF_FAULTS
