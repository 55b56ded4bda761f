"""A failed transaction changes nothing, on disk or in memory."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.core.outcome.errors import UpstreamError
from gateway.core.outcome.outcome import Reason
from gateway.delivery.queue.database import connect
from gateway.delivery.queue.free_space import FreeSpace
from gateway.delivery.queue.ledger import MAX_KEPT_BYTES, Ledger
from gateway.delivery.queue.settings import Limits
from tests.support.points import HERE, NOW_NS, append_to, new_point


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(connect(tmp_path / "queue.db")) as connection:
        ledger = Ledger(connection, Limits(), FreeSpace(tmp_path / "queue.db"))
        ledger.measure_space()
        yield ledger


class LittleSpace(FreeSpace):
    def left(self) -> int:
        return 200


def test_appends_of_one_transaction_share_the_space_of_the_disk(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "queue.db")) as connection:
        ledger = Ledger(connection, Limits(), LittleSpace(tmp_path / "queue.db"))
        ledger.measure_space()
        with ledger.transaction():
            append_to(ledger, new_point("a"))
            with pytest.raises(UpstreamError, match="its disk has too little room left"):
                append_to(ledger, new_point("b"))

        assert [point.point.metric for point in ledger.lease(HERE, 10, NOW_NS)] == ["a"]


def test_a_failed_transaction_changes_nothing(ledger: Ledger) -> None:
    with pytest.raises(RuntimeError), ledger.transaction():
        append_to(ledger, new_point("a"))
        raise RuntimeError
    nothing = ledger.depths(NOW_NS)
    with ledger.transaction():
        append_to(ledger, new_point("b"))

    assert nothing == []
    assert [depth.queued for depth in ledger.depths(NOW_NS)] == [1]
    assert [point.point.metric for point in ledger.lease(HERE, 10, NOW_NS)] == ["b"]


def test_a_lease_ends_only_when_its_settlement_is_committed(ledger: Ledger) -> None:
    with ledger.transaction():
        append_to(ledger, new_point("a"))
    ids = [point.id for point in ledger.lease(HERE, 10, NOW_NS)]
    with pytest.raises(RuntimeError), ledger.transaction():
        ledger.retry_later(ids, NOW_NS, Reason.UPSTREAM_DOWN, "down")
        raise RuntimeError

    assert ledger.lease(HERE, 10, NOW_NS) == []


def test_new_points_beyond_the_memory_for_them_are_read_from_disk(ledger: Ledger) -> None:
    points = [new_point(name * (MAX_KEPT_BYTES // 3))._replace(form=name) for name in "abcd"]
    with ledger.transaction():
        append_to(ledger, *points)

    found = ledger.lease(HERE, 10, NOW_NS)

    assert [point.point for point in found] == [new.point for new in points]
    assert [point.form for point in found] == ["a", "b", None, None]
    assert ledger._kept_bytes == 0


def test_new_points_of_a_failed_transaction_are_forgotten(ledger: Ledger) -> None:
    with pytest.raises(RuntimeError), ledger.transaction():
        append_to(ledger, new_point("a")._replace(form="a"))
        raise RuntimeError
    with ledger.transaction():
        append_to(ledger, new_point("b")._replace(form="b"))

    [point] = ledger.lease(HERE, 10, NOW_NS)

    assert (point.id, point.point.metric, point.form) == (1, "b", "b")


def test_dropped_points_are_not_kept_in_memory(ledger: Ledger) -> None:
    with ledger.transaction():
        append_to(ledger, new_point("a"), new_point("b"))
    with ledger.transaction():
        ledger.delete([1, 2])

    assert ledger._kept_bytes == 0
