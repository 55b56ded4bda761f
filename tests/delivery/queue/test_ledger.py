"""A failed transaction changes nothing, on disk or in memory."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.core.outcome.errors import UpstreamError
from gateway.core.outcome.outcome import Reason
from gateway.delivery.queue.database import connect
from gateway.delivery.queue.free_space import FreeSpace
from gateway.delivery.queue.ledger import Ledger
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
