"""The memory limit of bodies."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.web.body import Room
from tests.support.gateway import raw_report, running

MARK = b"\xfe"


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_one_owner_may_use_half_of_the_room() -> None:
    room = Room(bodies=100, size=10)
    with room.hold("a") as first, room.hold("a"), room.hold("b") as third:
        first(5)
        third(5)
        with pytest.raises(CallerError) as caught:
            first(1)

    assert (caught.value.outcome.reason, caught.value.outcome.retry_after_s) == (Reason.OVERLOADED, 1)


def test_the_number_of_bodies_is_bounded() -> None:
    room = Room(bodies=2, size=10)

    with room.hold("a"), room.hold("b"), pytest.raises(CallerError), room.hold("c"):
        pass


def test_room_is_released() -> None:
    room = Room(bodies=2, size=10)

    for _ in range(10):
        with room.hold("a") as reserve:
            reserve(5)

    assert room._held == {}


async def test_a_body_that_breaks_off_is_freed_without_the_garbage_collector(without_collector: None) -> None:
    broken = raw_report(MARK * 100_000)[:-50_000]
    async with running() as gateway:
        for _ in range(5):
            async with gateway.call() as caller:
                caller.send(broken)
                await asyncio.sleep(0.02)
                caller.writer.transport.abort()
        await asyncio.sleep(0.1)
        held = [each for each in gc.get_objects() if isinstance(each, list) and any(map(is_part, each[:50]))]

    assert held == []


def is_part(value: object) -> bool:
    """Tell whether it is a part of the body that was sent, and not the request itself."""
    return isinstance(value, bytes) and value[-3:] == 3 * MARK and not value.startswith(b"POST")
