"""Shutdown while the queue is in use, and the delivery by the next process."""

import signal
import time
from pathlib import Path

from tests.soak.queueing import deliver_the_rest, kept, number_of, serving, until
from tests.soak.reporters import Reporters
from tests.soak.sink import Sink
from tests.support.upstream import Upstream, hangs


async def test_sigterm_under_load_answers_every_stored_report_and_the_next_gateway_delivers_the_rest(
    tmp_path: Path,
) -> None:
    sink, reporters = Sink(slow_s=0.1), Reporters()
    async with (
        Upstream(sink.for_gateway(0), at_once=True) as upstream,
        reporters.reporting(8),
        serving(tmp_path, upstream) as gateway,
    ):
        reporters.address = gateway.address
        await until(lambda: len(reporters.acknowledged) > 300 and len(sink.taken) > 100)
        gateway.process.signal(signal.SIGTERM)
        code = await gateway.process.gone()
        reporters.address = None
    waiting = {number_of(point) for point in await kept(tmp_path)}
    taken_before = set(sink.taken)
    left = await deliver_the_rest(tmp_path, sink, 1)

    assert code == 0
    assert taken_before | waiting == reporters.acknowledged  # stored if and only if acknowledged
    assert sink.taken.keys() == reporters.acknowledged
    assert {len(taken) for taken in sink.taken.values()} == {1}
    assert left == []


async def test_points_without_an_answer_within_the_grace_period_are_delivered_later(
    tmp_path: Path,
) -> None:
    sink, reporters = Sink(), Reporters()
    async with Upstream(hangs) as upstream, serving(tmp_path, upstream, "--grace-s", "0.5") as gateway:
        reporters.address = gateway.address
        await reporters.report_each(range(20))
        await until(lambda: bool(upstream.received))
        gateway.process.signal(signal.SIGTERM)
        began = time.monotonic()
        code = await gateway.process.gone()
        took_s = time.monotonic() - began
    waiting = {number_of(point) for point in await kept(tmp_path)}
    await deliver_the_rest(tmp_path, sink, 1)

    assert (code, took_s < 2.5) == (0, True)
    assert waiting == sink.taken.keys() == set(range(20))
