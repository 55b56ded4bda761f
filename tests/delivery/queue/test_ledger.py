"""A transaction that breaks off leaves nothing behind, on disk or in memory."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.core.outcome.outcome import Reason
from gateway.delivery.queue.database import connect
from gateway.delivery.queue.ledger import Ledger
from gateway.delivery.queue.records import Limits, row_of
from tests.support.points import HERE, NOW_NS, new_point


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(connect(tmp_path / "queue.db")) as connection:
        yield Ledger(connection, Limits())


def test_a_transaction_that_breaks_off_is_as_if_it_had_never_been(ledger: Ledger) -> None:
    with pytest.raises(RuntimeError), ledger.transaction():
        ledger.append([row_of(new_point("a"))])
        raise RuntimeError
    nothing = ledger.depths()
    with ledger.transaction():
        ledger.append([row_of(new_point("b"))])

    assert nothing == {}
    assert ledger.depths()[HERE].queued == 1
    assert [point.point.metric for point in ledger.lease(HERE, 10, NOW_NS)] == ["b"]


def test_a_lease_ends_with_the_transaction_that_ends_it_and_no_sooner(ledger: Ledger) -> None:
    with ledger.transaction():
        ledger.append([row_of(new_point("a"))])
    ids = [point.id for point in ledger.lease(HERE, 10, NOW_NS)]
    with pytest.raises(RuntimeError), ledger.transaction():
        ledger.postpone(ids, NOW_NS, Reason.UPSTREAM_DOWN, "down")
        raise RuntimeError

    assert ledger.lease(HERE, 10, NOW_NS) == []
