"""A full disk rejects new points, deletes delivered ones, and is used again once it has space."""

import asyncio
import time
from pathlib import Path

import pytest

from gateway.core.outcome.errors import UpstreamError
from gateway.core.outcome.outcome import Reason
from gateway.delivery.queue import Limits, Store
from tests.support.disks import fill, small_disk
from tests.support.points import HERE, depth_of, names_in, new_point, open_store

AT_ONCE = 8


async def append_until_rejected(store: Store, ending: str) -> tuple[set[str], UpstreamError]:
    """Append reports of 50 points, several at once; return the names of the stored points, and the first error."""
    stored: set[str] = set()
    number = 0
    while True:
        reports = [[f"m{number + at}-{each}{ending}" for each in range(50)] for at in range(AT_ONCE)]
        number += AT_ONCE
        appends = [store.append([new_point(name) for name in names]) for names in reports]
        results = await asyncio.gather(*appends, return_exceptions=True)
        for names, result in zip(reports, results, strict=True):
            if result is None:
                stored.update(names)
        rejected = [result for result in results if result is not None]
        if rejected:
            assert isinstance(rejected[0], UpstreamError)
            return stored, rejected[0]


async def deliver_all(store: Store) -> list[str]:
    delivered: list[str] = []
    async with asyncio.timeout(20):
        while True:
            points = await store.lease(HERE, 500, time.time_ns())
            delivered += [found.point.metric for found in points]
            store.ack([found.id for found in points])
            depth = await depth_of(store)
            if not depth.queued and not depth.leased:
                return delivered
            if not points:
                await asyncio.sleep(0.1)


@pytest.mark.parametrize(("mebibytes", "ending"), [(6, ""), (24, "x" * 400)], ids=["6", "24"])
async def test_delivery_frees_a_disk_that_the_queue_has_filled(tmp_path: Path, mebibytes: int, ending: str) -> None:
    with small_disk(tmp_path / "disk", mebibytes):
        async with open_store(tmp_path / "disk" / "data", Limits(share=1)) as store:
            stored, rejected = await append_until_rejected(store, ending)
            delivered = await deliver_all(store)
            await store.append([new_point("again")])
        left = await names_in(tmp_path / "disk" / "data")

    assert (rejected.outcome.reason, rejected.outcome.message) == (
        Reason.QUEUE_FULL,
        "the queue is full: its disk has too little room left",
    )
    assert sorted(delivered) == sorted(stored)
    assert left == ["again"]


async def test_delivery_continues_on_a_disk_that_others_have_filled(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 24):
        async with open_store(tmp_path / "disk" / "data", Limits(share=1)) as store:
            names = [f"m{number}" for number in range(5000)]
            await store.append([new_point(name) for name in names])
            others = fill(tmp_path / "disk")
            with pytest.raises(UpstreamError, match=r"queue is full|cannot be written"):
                await store.append([new_point("rejected")])
            delivered = await deliver_all(store)
            others.unlink()
            await store.append([new_point("again")])
            failure = (await store.state()).failure
        left = await names_in(tmp_path / "disk" / "data")

    assert sorted(delivered) == sorted(names)
    assert (left, failure) == (["again"], None)
