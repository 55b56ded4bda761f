"""The store: appends and their limits, leases and settlements, listing and changes by filter, and its file."""

import asyncio
import json
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.core.outcome.errors import CallerError, GatewayError, UpstreamError
from gateway.core.outcome.outcome import Reason
from gateway.core.points.point import DataPoint
from gateway.delivery.queue import Depth, Limits, PointFilter, State, Store, Timing
from gateway.delivery.queue.database import connect
from gateway.delivery.queue.free_space import FreeSpace
from gateway.delivery.queue.ledger import Ledger
from gateway.delivery.queue.listing import MAX_PAGE_CHARS
from gateway.delivery.queue.writer import Kind
from tests.support.points import (
    HERE,
    NOW_NS,
    THERE,
    S,
    append_to,
    depth_of,
    filled,
    ids_of,
    leased,
    names_in,
    new_point,
    open_store,
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path) as store:
        yield store


def by_ids(*ids: int) -> PointFilter:
    return PointFilter(ids=list(ids))


def oldest_is_of(depth: Depth, age_s: float) -> bool:
    """Return whether the oldest point was received `age_s` before NOW_NS."""
    assert depth.oldest_s is not None
    return abs(time.time() - depth.oldest_s - (NOW_NS / S - age_s)) < 2


# Appends.


async def test_appended_points_exist_after_reopening(tmp_path: Path) -> None:
    point = new_point("m", index=3)
    async with open_store(tmp_path) as store:
        await store.append([point])

    async with open_store(tmp_path) as store:
        [found] = await store.lease(HERE, 10, NOW_NS)

    assert (found.point, found.report_id, found.item, found.received_ns) == (point.point, "r", 3, NOW_NS)


async def test_concurrent_appends_share_transactions(store: Store) -> None:
    before = (await store.state()).commits
    await asyncio.gather(*(store.append([new_point()]) for _ in range(100)))

    state = await store.state()
    assert state.targets[0].queued == 100
    assert 1 <= state.commits - before <= 10


async def test_a_report_without_points_writes_nothing(store: Store) -> None:
    await store.append([])

    assert (await store.state()).commits == 0


async def test_a_cancelled_append_does_not_affect_others(store: Store) -> None:
    given_up = asyncio.get_running_loop().create_task(store.append([new_point("a")]))
    await asyncio.sleep(0)
    given_up.cancel()
    await store.append([new_point("b")])

    assert await leased(store) == ["a", "b"]


async def test_text_that_is_not_unicode_rejects_only_its_report(store: Store) -> None:
    bad = new_point()._replace(point=DataPoint("m", 1, value=1, unit="\udcff"))
    with pytest.raises(CallerError) as caught:
        await store.append([new_point("a"), bad])
    await store.append([new_point("b")])

    assert caught.value.outcome.reason is Reason.BAD_FIELD
    assert await leased(store) == ["b"]


async def test_a_closed_store_rejects_appends(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        pass

    with pytest.raises(UpstreamError) as caught:
        await store.append([new_point()])
    assert caught.value.outcome.reason is Reason.SHUTTING_DOWN


async def test_closing_writes_waiting_appends(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    appended = asyncio.get_running_loop().create_task(store.append([new_point("a")]))
    await asyncio.sleep(0)
    await store.close()
    await appended

    assert await names_in(tmp_path) == ["a"]


# Limits.


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param(Limits(max_points=3, share=1), id="points"),
        pytest.param(Limits(max_bytes=600, share=1), id="bytes"),
        pytest.param(Limits(max_points=6, share=0.5), id="share of the points"),
        pytest.param(Limits(max_bytes=1200, share=0.5), id="share of the bytes"),
    ],
)
async def test_beyond_a_limit_a_report_is_rejected_whole_and_stored_points_stay(tmp_path: Path, limits: Limits) -> None:
    async with open_store(tmp_path, limits) as store:
        await store.append([new_point("a"), new_point("b")])
        with pytest.raises(UpstreamError) as caught:
            await store.append([new_point("c"), new_point("d")])
        await store.append([new_point("e")])
        found = await leased(store)

    assert caught.value.outcome.reason is Reason.QUEUE_FULL
    assert found == ["a", "b", "e"]


async def test_appends_in_one_transaction_cannot_exceed_a_limit_together(tmp_path: Path) -> None:
    async with open_store(tmp_path, Limits(max_points=10, share=1)) as store:
        results = await asyncio.gather(*(store.append([new_point()]) for _ in range(50)), return_exceptions=True)
        found = await leased(store)

    assert len(found) == 10
    assert results.count(None) == 10


async def test_an_ack_frees_space(tmp_path: Path) -> None:
    async with open_store(tmp_path, Limits(max_points=1, share=1)) as store:
        await store.append([new_point("a")])
        store.ack([point.id for point in await store.lease(HERE, 1, NOW_NS)])
        await store.append([new_point("b")])

        assert await leased(store) == ["b"]


async def test_limits_count_points_stored_before_opening(tmp_path: Path) -> None:
    await filled(tmp_path, "a")

    async with open_store(tmp_path, Limits(max_points=1, share=1)) as store:
        with pytest.raises(UpstreamError):
            await store.append([new_point("b")])


async def test_a_full_destination_leaves_space_for_others(tmp_path: Path) -> None:
    async with open_store(tmp_path, Limits(max_points=4, share=0.5)) as store:
        await store.append([new_point("a"), new_point("b")])
        with pytest.raises(UpstreamError):
            await store.append([new_point("c")])
        await store.append([new_point("d", destination=THERE)])

        assert await leased(store, destination=THERE) == ["d"]


async def test_a_destination_whose_oldest_point_is_too_old_rejects_points(tmp_path: Path) -> None:
    async with open_store(tmp_path, Limits(max_age_s=60)) as store:
        await store.append([new_point("a", age_s=61)])
        with pytest.raises(UpstreamError) as caught:
            await store.append([new_point("b")])
        await store.append([new_point("c", destination=THERE)])
        store.ack([point.id for point in await store.lease(HERE, 1, NOW_NS)])
        await store.append([new_point("d")])
        found = await leased(store)

    assert caught.value.outcome.reason is Reason.QUEUE_FULL
    assert found == ["d"]


async def test_the_number_of_waiting_appends_is_limited(tmp_path: Path) -> None:
    async with open_store(tmp_path, Limits(max_waiting=5)) as store:
        results = await asyncio.gather(*(store.append([new_point()]) for _ in range(8)), return_exceptions=True)
        await store.append([new_point()])

    rejected = [result for result in results if isinstance(result, GatewayError)]
    assert [error.outcome.reason for error in rejected] == [Reason.OVERLOADED] * 3


# Workers.


async def test_a_lease_returns_the_oldest_first_and_no_point_twice(store: Store) -> None:
    await store.append([new_point(name) for name in "abc"])

    assert [await leased(store, 2), await leased(store, 2), await leased(store, 2)] == [["a", "b"], ["c"], []]


async def test_a_lease_returns_points_of_its_destination_only(store: Store) -> None:
    await store.append([new_point("a"), new_point("b", destination=THERE)])

    assert await leased(store, destination=THERE) == ["b"]


async def test_acked_points_are_deleted(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.append([new_point("a"), new_point("b")])
        store.ack([point.id for point in await store.lease(HERE, 1, NOW_NS)])

    assert await names_in(tmp_path) == ["b"]


async def test_leased_points_are_queued_again_after_a_restart(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.append([new_point("a")])
        await leased(store)

    assert await names_in(tmp_path) == ["a"]


async def test_released_points_are_due_as_before(store: Store) -> None:
    await store.append([new_point("a"), new_point("b")])
    [found] = await store.lease(HERE, 1, NOW_NS)
    store.release([found.id])

    assert [point.attempts for point in await store.lease(HERE, 10, NOW_NS)] == [0, 0]


async def test_points_in_backoff_wait_and_then_come_first(store: Store) -> None:
    await store.append([new_point("a")])
    [found] = await store.lease(HERE, 1, NOW_NS)
    store.retry_later([found.id], NOW_NS + S, Reason.UPSTREAM_DOWN, "down")
    await store.append([new_point("b"), new_point("c")])

    assert await leased(store, 1) == ["b"]
    assert await store.next_due_ns(HERE, NOW_NS) == NOW_NS + S
    assert await leased(store, now_ns=NOW_NS + S) == ["a", "c"]


async def test_attempts_are_counted_across_restarts(tmp_path: Path) -> None:
    await filled(tmp_path, "a")
    for _ in range(2):
        async with open_store(tmp_path) as store:
            store.retry_later(
                [point.id for point in await store.lease(HERE, 1, NOW_NS)], NOW_NS, Reason.UPSTREAM_DOWN, "down"
            )

    async with open_store(tmp_path) as store:
        [found] = await store.lease(HERE, 1, NOW_NS)
    assert found.attempts == 2


async def test_dead_letters_are_not_leased_and_their_message_is_cut(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.append([new_point("a")])
        [found] = await store.lease(HERE, 1, NOW_NS)
        store.dead_letter([found.id], Reason.UPSTREAM_REJECTED, "no \udcff" + "x" * 1000)

    async with open_store(tmp_path) as store:
        nothing = await leased(store)
        [dead] = await store.points(PointFilter())
    assert nothing == []
    assert (dead.state, dead.reason) == (State.DEAD_LETTER, "UPSTREAM_REJECTED")
    assert dead.message == ("no ?" + "x" * 1000)[:500]


async def test_an_unreadable_point_becomes_a_dead_letter_and_others_are_leased(tmp_path: Path) -> None:
    await filled(tmp_path, "a", "b", "c")
    connection = sqlite3.connect(tmp_path / "queue.db")
    connection.execute("UPDATE points SET point = '{\"metric\": 1' WHERE id = 1")
    connection.execute("UPDATE points SET point = '{\"metrics\": 1}' WHERE id = 2")
    connection.commit()
    connection.close()

    async with open_store(tmp_path) as store:
        assert await leased(store) == ["c"]
        assert await ids_of(store, State.DEAD_LETTER) == [1, 2]


async def test_a_bug_in_one_call_does_not_stop_the_queue(store: Store) -> None:
    await store.append([new_point("a")])
    [found] = await store.lease(HERE, 1, NOW_NS)
    with capture_logs() as logs:
        store.dead_letter([found.id], Reason.INTERNAL, None)  # type: ignore[arg-type]
        await store.state()
    await store.append([new_point("b")])

    assert logs[-1]["event"] == "settlement_failed"
    assert await leased(store) == ["b"]


# Listing and changes.


async def test_retried_points_are_due_without_attempts(store: Store) -> None:
    await store.append([new_point("a"), new_point("b"), new_point("c")])
    dead, delayed, held = [point.id for point in await store.lease(HERE, 3, NOW_NS)]
    store.dead_letter([dead], Reason.TOO_OLD, "too old")
    store.retry_later([delayed], NOW_NS + S, Reason.UPSTREAM_DOWN, "down")

    assert await store.retry(by_ids(dead, delayed, held, 99, 10**30)) == 2
    assert [(point.id, point.attempts) for point in await store.lease(HERE, 10, NOW_NS)] == [
        (dead, 0),
        (delayed, 0),
    ]


async def test_points_of_any_state_can_be_dropped(store: Store) -> None:
    await store.append([new_point("a"), new_point("b"), new_point("c")])
    dead, held = [point.id for point in await store.lease(HERE, 2, NOW_NS)]
    store.dead_letter([dead], Reason.TOO_OLD, "too old")

    assert await store.drop(by_ids(dead, held, 99, 10**30)) == 2
    store.retry_later([held], NOW_NS, Reason.UPSTREAM_DOWN, "down")
    assert await leased(store) == ["c"]


async def test_many_points_are_dropped_in_several_transactions(store: Store) -> None:
    await store.append([new_point() for _ in range(2500)])
    before = (await store.state()).commits

    assert await store.drop(by_ids(*range(1, 2500))) == 2499
    assert await ids_of(store) == [2500]
    assert (await store.state()).commits - before == 3


async def test_points_are_listed_by_state_and_destination(store: Store) -> None:
    await store.append([new_point(), new_point(), new_point(), new_point(destination=THERE)])
    dead, held = [point.id for point in await store.lease(HERE, 2, NOW_NS)]
    store.dead_letter([dead], Reason.TOO_OLD, "too old")

    assert await ids_of(store) == [1, 2, 3, 4]
    assert await ids_of(store, State.DEAD_LETTER) == [dead]
    assert await ids_of(store, State.LEASED) == [held]
    assert await ids_of(store, State.QUEUED) == [3, 4]
    assert [point.id for point in await store.points(PointFilter(target="mirror"))] == [4]
    assert await store.points(PointFilter(route="another")) == []


@pytest.mark.parametrize(
    ("which", "ids"),
    [
        pytest.param(PointFilter(), [1, 2, 3, 4], id="all"),
        pytest.param(PointFilter(reason="TOO_OLD"), [1, 4], id="reason"),
        pytest.param(PointFilter(reason="TOO_OLD", target="mirror"), [4], id="reason and target"),
        pytest.param(PointFilter(state=State.DEAD_LETTER, reason="UPSTREAM_REJECTED"), [2], id="state and reason"),
        pytest.param(PointFilter(ids=[4, 3, 99], route=HERE.route), [3, 4], id="ids and route"),
        pytest.param(PointFilter(ids=[]), [], id="no ids"),
    ],
)
async def test_a_filter_selects_the_same_points_for_listing_counting_and_dropping(
    store: Store, which: PointFilter, ids: list[int]
) -> None:
    await store.append([new_point(), new_point(), new_point(), new_point(destination=THERE)])
    store.dead_letter([1, 4], Reason.TOO_OLD, "too old")
    store.dead_letter([2], Reason.UPSTREAM_REJECTED, "no")

    assert [point.id for point in await store.points(which)] == ids
    assert await store.count(which) == len(ids)
    assert await store.drop(which) == len(ids)
    assert await ids_of(store) == [each for each in (1, 2, 3, 4) if each not in ids]


async def test_a_change_by_filter_stops_at_its_limit(store: Store) -> None:
    await store.append([new_point() for _ in range(1500)])

    assert await store.drop(PointFilter(state=State.QUEUED), 1200) == 1200
    assert await store.count(PointFilter()) == 300


async def test_points_are_listed_in_pages(store: Store) -> None:
    await store.append([new_point() for _ in range(5)])

    assert [point.id for point in await store.points(PointFilter(), limit=2)] == [1, 2]
    assert [point.id for point in await store.points(PointFilter(), limit=2, after=2)] == [3, 4]


async def test_a_page_of_large_points_is_shorter_and_never_empty(store: Store) -> None:
    await store.append(
        [new_point("m" * (MAX_PAGE_CHARS + 1)), *(new_point("m" * (MAX_PAGE_CHARS // 2)) for _ in "abc")]
    )

    assert [point.id for point in await store.points(PointFilter(), limit=9)] == [1]
    assert [point.id for point in await store.points(PointFilter(), limit=9, after=1)] == [2, 3]
    assert [point.id for point in await store.points(PointFilter(), limit=9, after=3)] == [4]
    assert await store.points(PointFilter(), limit=9, after=4) == []


async def test_a_point_is_read_by_id(store: Store) -> None:
    await store.append([new_point("a"), new_point("b", index=1)])

    [found] = await store.points(by_ids(2))
    assert (found.route, found.target, found.report_id, found.index, found.state) == (*HERE, "r", 1, State.QUEUED)
    assert isinstance(found.point, dict)
    assert found.point["metric"] == "b"
    assert await store.points(by_ids(3, 10**30)) == []


async def test_ids_are_not_reused(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.append([new_point()])
        await store.drop(by_ids(1))

    async with open_store(tmp_path) as store:
        await store.append([new_point()])
        assert await ids_of(store) == [2]


async def test_the_state_counts_points_by_destination_and_state(store: Store) -> None:
    await store.append([new_point(age_s=age_s) for age_s in (50, 40, 30)])
    dead, _ = [point.id for point in await store.lease(HERE, 2, NOW_NS)]
    store.dead_letter([dead], Reason.TOO_OLD, "too old")

    found = await depth_of(store)
    assert (found.queued, found.leased, found.dead_letter) == (1, 1, 1)
    assert oldest_is_of(found, 40)


async def test_the_oldest_point_is_found_after_its_retry(store: Store) -> None:
    await store.append([new_point(age_s=age_s) for age_s in (50, 40)])
    [dead] = [point.id for point in await store.lease(HERE, 1, NOW_NS)]
    store.dead_letter([dead], Reason.TOO_OLD, "too old")
    later = await depth_of(store)
    await store.retry(by_ids(dead))

    assert oldest_is_of(later, 40)
    assert oldest_is_of(await depth_of(store), 50)


async def test_the_counts_of_an_empty_destination_are_zero(store: Store) -> None:
    await store.append([new_point()])
    await store.drop(by_ids(1))

    assert await depth_of(store) == Depth(route=HERE.route, target=HERE.target)


async def test_counters_are_the_same_after_reopening(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.append([new_point("a"), new_point("指标"), new_point(destination=THERE)])
        store.dead_letter([point.id for point in await store.lease(HERE, 1, NOW_NS)], Reason.TOO_OLD, "")
        before = [replace(depth, oldest_s=None) for depth in (await store.state()).targets]

    async with open_store(tmp_path) as store:
        assert [replace(depth, oldest_s=None) for depth in (await store.state()).targets] == before


# The file.


async def test_counted_bytes_are_close_to_the_size_of_the_file(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.append([new_point() for _ in range(20_000)])
        counted = (await depth_of(store)).bytes

    assert counted == pytest.approx((tmp_path / "queue.db").stat().st_size, rel=0.25)


async def test_the_file_shrinks_after_a_burst(tmp_path: Path) -> None:
    database = tmp_path / "queue.db"
    async with open_store(tmp_path) as store:
        await store.append([new_point("m" * 4000) for _ in range(1500)])
        await store.drop(PointFilter())
        async with asyncio.timeout(20):
            while database.stat().st_size > 1_100_000:
                await asyncio.sleep(0.01)


async def test_a_file_grown_by_an_earlier_process_shrinks(tmp_path: Path) -> None:
    database = tmp_path / "queue.db"
    with closing(connect(database)) as connection:
        ledger = Ledger(connection, Limits(), FreeSpace(database))
        ledger.measure_space()
        with ledger.transaction():
            append_to(ledger, *(new_point("m" * 4000) for _ in range(1500)))
        with ledger.transaction():
            ledger.delete(range(1, 1501))
    before = database.stat().st_size

    async with open_store(tmp_path), asyncio.timeout(20):
        while database.stat().st_size > 1_100_000:
            await asyncio.sleep(0.01)
    assert before > 3_000_000


async def test_the_log_stays_small(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        for _ in range(60):
            await store.append([new_point("m" * 4000) for _ in range(100)])
        size = (tmp_path / "queue.db-wal").stat().st_size

    assert size < 10_000_000


async def test_the_file_contains_points_and_no_secrets(tmp_path: Path) -> None:
    await filled(tmp_path, "m")
    connection = sqlite3.connect(tmp_path / "queue.db")
    connection.row_factory = sqlite3.Row
    [row] = map(dict, connection.execute("SELECT * FROM points"))
    connection.close()
    point = json.loads(row.pop("point"))

    assert row == {
        "id": 1,
        "destination": 1,
        "report_id": "r",
        "item": 0,
        "received_ns": NOW_NS,
        "state": 0,
        "attempts": 0,
        "not_before_ns": 0,
        "reason": None,
        "message": None,
    }
    assert point == {
        "namespace": "n",
        "metric": "m",
        "value": 1.5,
        "unit": "s",
        "time_ns": NOW_NS,
        "attributes": {"a": "b"},
    }


async def test_a_point_whose_backoff_is_too_long_is_due_because_the_clock_was_set_back(store: Store) -> None:
    await store.append([new_point("m")])
    [point] = await store.lease(HERE, 1, NOW_NS)
    store.retry_later([point.id], NOW_NS + 86_400 * S, Reason.UPSTREAM_DOWN, "down")

    assert [each.id for each in await store.lease(HERE, 1, NOW_NS)] == [point.id]


async def test_fresh_points_are_leased_first_on_request(store: Store) -> None:
    await store.append([new_point("failed"), new_point("fresh")])
    [failed] = await store.lease(HERE, 1, NOW_NS)
    store.retry_later([failed.id], NOW_NS, Reason.UPSTREAM_DOWN, "down")

    leased = await store.lease(HERE, 2, NOW_NS + S, fresh_first=True)

    assert [each.point.metric for each in leased] == ["fresh", "failed"]


# A hung disk.


async def test_a_hung_disk_rejects_in_time_and_stores_nothing_that_was_rejected(tmp_path: Path) -> None:
    hangs, goes_on = threading.Event(), threading.Event()
    async with open_store(tmp_path, timing=Timing(disk_s=0.2)) as store:
        store._writer.post(Kind.READ, lambda ledger: (hangs.set(), goes_on.wait(10)))
        await asyncio.to_thread(hangs.wait)
        try:
            with pytest.raises(UpstreamError, match=r"did not answer within 0\.2 s") as rejected:
                await store.append([new_point("rejected")])
            with pytest.raises(UpstreamError, match="did not answer"):
                await store.state()
            assert store._writer.waiting == 1  # it counts until the thread has skipped it
        finally:
            goes_on.set()
        while store._writer.waiting:
            await asyncio.sleep(0.01)
        await store.append([new_point("stored")])

        assert rejected.value.outcome.reason is Reason.QUEUE_FULL
        assert await leased(store) == ["stored"]
