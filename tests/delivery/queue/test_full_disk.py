"""A disk that is full refuses what is new, lets go of what is delivered, and is used again once it has room."""

import asyncio
import time
from pathlib import Path

import pytest

from gateway.core.outcome.errors import UpstreamError
from gateway.core.outcome.outcome import Reason
from gateway.delivery.queue import Limits, Store
from tests.support.disks import fill, small_disk
from tests.support.points import HERE, names_in, new_point, open_store

AT_ONCE = 8


async def append_until_refused(store: Store) -> tuple[set[str], UpstreamError]:
    """Append reports of 50 points, some at once, and return the names of those that were kept."""
    kept: set[str] = set()
    number = 0
    while True:
        reports = [[f"m{number + at}-{each}" for each in range(50)] for at in range(AT_ONCE)]
        number += AT_ONCE
        appends = [store.append([new_point(name) for name in names]) for names in reports]
        results = await asyncio.gather(*appends, return_exceptions=True)
        for names, result in zip(reports, results, strict=True):
            if result is None:
                kept.update(names)
        refused = [result for result in results if result is not None]
        if refused:
            assert isinstance(refused[0], UpstreamError)
            return kept, refused[0]


async def deliver_all(store: Store) -> list[str]:
    delivered: list[str] = []
    async with asyncio.timeout(20):
        while True:
            points = await store.lease(HERE, 500, time.time_ns())
            delivered += [found.point.metric for found in points]
            store.ack([found.id for found in points])
            depth = (await store.stats()).depths[HERE]
            if not depth.queued and not depth.leased:
                return delivered
            if not points:
                await asyncio.sleep(0.1)


@pytest.mark.parametrize("mebibytes", [6, 24])
async def test_a_disk_that_the_queue_has_filled_is_emptied_by_delivery(tmp_path: Path, mebibytes: int) -> None:
    with small_disk(tmp_path / "disk", mebibytes):
        async with open_store(tmp_path / "disk" / "data", Limits(share=1)) as store:
            kept, refused = await append_until_refused(store)
            delivered = await deliver_all(store)
            await store.append([new_point("again")])
        left = await names_in(tmp_path / "disk" / "data")

    assert (refused.outcome.reason, refused.outcome.message) == (
        Reason.QUEUE_FULL,
        "the queue is full: its disk has too little room left",
    )
    assert sorted(delivered) == sorted(kept)
    assert left == ["again"]


async def test_a_disk_that_others_have_filled_takes_what_frees_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 24):
        async with open_store(tmp_path / "disk" / "data", Limits(share=1)) as store:
            names = [f"m{number}" for number in range(5000)]
            await store.append([new_point(name) for name in names])
            others = fill(tmp_path / "disk")
            with pytest.raises(UpstreamError, match=r"queue is full|cannot be written"):
                await store.append([new_point("refused")])
            delivered = await deliver_all(store)
            others.unlink()
            await store.append([new_point("again")])
            failure = (await store.stats()).failure
        left = await names_in(tmp_path / "disk" / "data")

    assert sorted(delivered) == sorted(names)
    assert (left, failure) == (["again"], None)
