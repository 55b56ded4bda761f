"""What the queue promises to those who fill it, to workers, and to people."""

import asyncio
import json
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.core.outcome.errors import CallerError, GatewayError, UpstreamError
from gateway.core.outcome.outcome import Reason
from gateway.core.points.point import DataPoint
from gateway.delivery.queue import Depth, Limits, State, Store
from gateway.delivery.queue.database import connect
from gateway.delivery.queue.ledger import Ledger
from gateway.delivery.queue.listing import MAX_PAGE_CHARS
from gateway.delivery.queue.records import row_of
from gateway.delivery.queue.writer import Kind
from tests.support.points import HERE, NOW_NS, THERE, S, filled, leased, names_in, new_point, open_store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path) as store:
        yield store


async def depth(store: Store) -> Depth:
    return (await store.stats()).depths[HERE]


async def ids(store: Store, state: State | None = None) -> list[int]:
    return [found.id for found in await store.points(state=state)]


# Taking over.


async def test_what_was_appended_is_there_after_reopening(tmp_path: Path) -> None:
    point = new_point("m", index=3)
    async with open_store(tmp_path) as store:
        await store.append([point])

    async with open_store(tmp_path) as store:
        [found] = await store.lease(HERE, 10, NOW_NS)

    assert (found.point, found.report_id, found.index, found.received_ns) == (point.point, "r", 3, NOW_NS)


async def test_concurrent_appends_share_transactions(store: Store) -> None:
    before = (await store.stats()).commits
    await asyncio.gather(*(store.append([new_point()]) for _ in range(100)))

    stats = await store.stats()
    assert stats.depths[HERE].queued == 100
    assert 1 <= stats.commits - before <= 10


async def test_a_report_without_points_writes_nothing(store: Store) -> None:
    await store.append([])

    assert (await store.stats()).commits == 0


async def test_an_append_that_nobody_waits_for_any_more_harms_no_other(store: Store) -> None:
    given_up = asyncio.get_running_loop().create_task(store.append([new_point("a")]))
    await asyncio.sleep(0)
    given_up.cancel()
    await store.append([new_point("b")])

    assert await leased(store) == ["a", "b"]


async def test_a_point_that_json_cannot_hold_refuses_its_report_alone(store: Store) -> None:
    bad = replace(new_point(), point=DataPoint("m", 1, value=1, unit="\udcff"))
    with pytest.raises(CallerError) as caught:
        await store.append([new_point("a"), bad])
    await store.append([new_point("b")])

    assert caught.value.outcome.reason is Reason.BAD_FIELD
    assert await leased(store) == ["b"]


async def test_a_closed_store_refuses(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        pass

    with pytest.raises(UpstreamError) as caught:
        await store.append([new_point()])
    assert caught.value.outcome.reason is Reason.SHUTTING_DOWN


async def test_closing_writes_what_waits(tmp_path: Path) -> None:
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
async def test_past_a_limit_a_report_is_refused_whole_and_the_old_ones_stay(tmp_path: Path, limits: Limits) -> None:
    async with open_store(tmp_path, limits) as store:
        await store.append([new_point("a"), new_point("b")])
        with pytest.raises(UpstreamError) as caught:
            await store.append([new_point("c"), new_point("d")])
        await store.append([new_point("e")])
        found = await leased(store)

    assert caught.value.outcome.reason is Reason.QUEUE_FULL
    assert found == ["a", "b", "e"]


async def test_a_limit_holds_among_appends_that_share_a_transaction(tmp_path: Path) -> None:
    async with open_store(tmp_path, Limits(max_points=10, share=1)) as store:
        results = await asyncio.gather(*(store.append([new_point()]) for _ in range(50)), return_exceptions=True)
        found = await leased(store)

    assert len(found) == 10
    assert results.count(None) == 10


async def test_an_ack_makes_room(tmp_path: Path) -> None:
    async with open_store(tmp_path, Limits(max_points=1, share=1)) as store:
        await store.append([new_point("a")])
        store.ack([point.id for point in await store.lease(HERE, 1, NOW_NS)])
        await store.append([new_point("b")])

        assert await leased(store) == ["b"]


async def test_limits_count_what_was_there_before_opening(tmp_path: Path) -> None:
    await filled(tmp_path, "a")

    async with open_store(tmp_path, Limits(max_points=1, share=1)) as store:
        with pytest.raises(UpstreamError):
            await store.append([new_point("b")])


async def test_a_destination_that_is_full_leaves_room_for_the_others(tmp_path: Path) -> None:
    async with open_store(tmp_path, Limits(max_points=4, share=0.5)) as store:
        await store.append([new_point("a"), new_point("b")])
        with pytest.raises(UpstreamError):
            await store.append([new_point("c")])
        await store.append([new_point("d", destination=THERE)])

        assert await leased(store, destination=THERE) == ["d"]


async def test_a_destination_whose_oldest_point_is_too_old_takes_no_more(tmp_path: Path) -> None:
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


async def test_only_so_many_appends_wait_for_the_disk(tmp_path: Path) -> None:
    async with open_store(tmp_path, Limits(max_waiting=5)) as store:
        results = await asyncio.gather(*(store.append([new_point()]) for _ in range(8)), return_exceptions=True)
        await store.append([new_point()])

    refused = [result for result in results if isinstance(result, GatewayError)]
    assert [error.outcome.reason for error in refused] == [Reason.OVERLOADED] * 3


# Workers.


async def test_a_lease_gives_the_oldest_first_and_nothing_twice(store: Store) -> None:
    await store.append([new_point(name) for name in "abc"])

    assert [await leased(store, 2), await leased(store, 2), await leased(store, 2)] == [["a", "b"], ["c"], []]


async def test_a_lease_takes_from_its_own_destination_only(store: Store) -> None:
    await store.append([new_point("a"), new_point("b", destination=THERE)])

    assert await leased(store, destination=THERE) == ["b"]


async def test_acked_points_are_gone(tmp_path: Path) -> None:
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


async def test_a_lease_that_nobody_waits_for_any_more_is_given_back(store: Store) -> None:
    await store.append([new_point("a")])
    given_up = asyncio.get_running_loop().create_task(store.lease(HERE, 10, NOW_NS))
    await asyncio.sleep(0)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    await store.stats()

    assert await leased(store) == ["a"]


async def test_postponed_points_wait_and_then_come_first(store: Store) -> None:
    await store.append([new_point("a")])
    store.postpone([point.id for point in await store.lease(HERE, 1, NOW_NS)], NOW_NS + S, Reason.UPSTREAM_DOWN, "down")
    await store.append([new_point("b"), new_point("c")])

    assert await leased(store, 1) == ["b"]
    assert await store.next_due_ns(HERE, NOW_NS) == NOW_NS + S
    assert await leased(store, now_ns=NOW_NS + S) == ["a", "c"]


async def test_attempts_are_counted_across_restarts(tmp_path: Path) -> None:
    await filled(tmp_path, "a")
    for _ in range(2):
        async with open_store(tmp_path) as store:
            store.postpone(
                [point.id for point in await store.lease(HERE, 1, NOW_NS)], NOW_NS, Reason.UPSTREAM_DOWN, "down"
            )

    async with open_store(tmp_path) as store:
        [found] = await store.lease(HERE, 1, NOW_NS)
    assert found.attempts == 2


async def test_dead_letters_wait_for_a_person_with_the_reason_cut(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.append([new_point("a")])
        [found] = await store.lease(HERE, 1, NOW_NS)
        store.dead_letter([found.id], Reason.UPSTREAM_REJECTED, "no \udcff" + "x" * 1000)

    async with open_store(tmp_path) as store:
        nothing = await leased(store)
        [dead] = await store.points()
    assert nothing == []
    assert (dead.state, dead.reason) == (State.DEAD_LETTER, "UPSTREAM_REJECTED")
    assert dead.message == ("no ?" + "x" * 1000)[:500]


async def test_a_point_that_cannot_be_read_becomes_a_dead_letter_and_the_others_are_leased(tmp_path: Path) -> None:
    await filled(tmp_path, "a", "b", "c")
    connection = sqlite3.connect(tmp_path / "queue.db")
    connection.execute("UPDATE points SET point = '{\"metric\": 1' WHERE id = 1")
    connection.execute("UPDATE points SET point = '{\"metrics\": 1}' WHERE id = 2")
    connection.commit()
    connection.close()

    async with open_store(tmp_path) as store:
        assert await leased(store) == ["c"]
        assert await ids(store, State.DEAD_LETTER) == [1, 2]


async def test_a_bug_in_one_call_does_not_stop_the_queue(store: Store) -> None:
    await store.append([new_point("a")])
    [found] = await store.lease(HERE, 1, NOW_NS)
    with capture_logs() as logs:
        store.dead_letter([found.id], Reason.INTERNAL, None)  # type: ignore[arg-type]
        await store.stats()
    await store.append([new_point("b")])

    assert logs[-1]["event"] == "what became of leased points cannot be written; they stay leased"
    assert await leased(store) == ["b"]


# People.


async def test_retried_points_are_as_new(store: Store) -> None:
    await store.append([new_point("a"), new_point("b"), new_point("c")])
    dead, postponed, held = [point.id for point in await store.lease(HERE, 3, NOW_NS)]
    store.dead_letter([dead], Reason.TOO_OLD, "too old")
    store.postpone([postponed], NOW_NS + S, Reason.UPSTREAM_DOWN, "down")

    assert await store.retry([dead, postponed, held, 99, 10**30]) == 2
    assert [(point.id, point.attempts) for point in await store.lease(HERE, 10, NOW_NS)] == [
        (dead, 0),
        (postponed, 0),
    ]


async def test_dropped_points_are_gone_in_whatever_state(store: Store) -> None:
    await store.append([new_point("a"), new_point("b"), new_point("c")])
    dead, held = [point.id for point in await store.lease(HERE, 2, NOW_NS)]
    store.dead_letter([dead], Reason.TOO_OLD, "too old")

    assert await store.drop([dead, held, 99, 10**30]) == 2
    store.postpone([held], NOW_NS, Reason.UPSTREAM_DOWN, "down")
    assert await leased(store) == ["c"]


async def test_many_points_are_dropped_some_at_a_time(store: Store) -> None:
    await store.append([new_point() for _ in range(2500)])
    before = (await store.stats()).commits

    assert await store.drop(range(1, 2500)) == 2499
    assert await ids(store) == [2500]
    assert (await store.stats()).commits - before == 3


async def test_points_are_listed_by_state_and_place(store: Store) -> None:
    await store.append([new_point(), new_point(), new_point(), new_point(destination=THERE)])
    dead, held = [point.id for point in await store.lease(HERE, 2, NOW_NS)]
    store.dead_letter([dead], Reason.TOO_OLD, "too old")

    assert await ids(store) == [1, 2, 3, 4]
    assert await ids(store, State.DEAD_LETTER) == [dead]
    assert await ids(store, State.LEASED) == [held]
    assert await ids(store, State.QUEUED) == [3, 4]
    assert [point.id for point in await store.points(target="mirror")] == [4]
    assert await store.points(route="another") == []


async def test_points_are_listed_by_pages(store: Store) -> None:
    await store.append([new_point() for _ in range(5)])

    assert [point.id for point in await store.points(limit=2)] == [1, 2]
    assert [point.id for point in await store.points(limit=2, after=2)] == [3, 4]


async def test_a_page_of_large_points_ends_early_and_is_never_empty(store: Store) -> None:
    await store.append(
        [new_point("m" * (MAX_PAGE_CHARS + 1)), *(new_point("m" * (MAX_PAGE_CHARS // 2)) for _ in "abc")]
    )

    assert [point.id for point in await store.points(limit=9)] == [1]
    assert [point.id for point in await store.points(limit=9, after=1)] == [2, 3]
    assert [point.id for point in await store.points(limit=9, after=3)] == [4]
    assert await store.points(limit=9, after=4) == []


async def test_one_point_is_shown_whole(store: Store) -> None:
    await store.append([new_point("a"), new_point("b", index=1)])

    found = await store.point(2)
    assert found is not None
    assert (found.destination, found.report_id, found.index, found.state) == (HERE, "r", 1, State.QUEUED)
    assert '"metric":"b"' in found.text
    assert [await store.point(3), await store.point(10**30)] == [None, None]


async def test_ids_are_never_used_again(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.append([new_point()])
        await store.drop([1])

    async with open_store(tmp_path) as store:
        await store.append([new_point()])
        assert await ids(store) == [2]


async def test_stats_say_what_waits_where(store: Store) -> None:
    await store.append([new_point(age_s=age_s) for age_s in (50, 40, 30)])
    dead, _ = [point.id for point in await store.lease(HERE, 2, NOW_NS)]
    store.dead_letter([dead], Reason.TOO_OLD, "too old")

    found = await depth(store)
    assert (found.queued, found.leased, found.dead_letter, found.oldest_ns) == (1, 1, 1, NOW_NS - 40 * S)


async def test_the_oldest_point_is_found_again_after_a_retry(store: Store) -> None:
    await store.append([new_point(age_s=age_s) for age_s in (50, 40)])
    [dead] = [point.id for point in await store.lease(HERE, 1, NOW_NS)]
    store.dead_letter([dead], Reason.TOO_OLD, "too old")
    later = await depth(store)
    await store.retry([dead])

    assert later.oldest_ns == NOW_NS - 40 * S
    assert (await depth(store)).oldest_ns == NOW_NS - 50 * S


async def test_stats_of_an_empty_place_are_zero(store: Store) -> None:
    await store.append([new_point()])
    await store.drop([1])

    assert await depth(store) == Depth()


async def test_counters_are_the_same_after_reopening(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.append([new_point("a"), new_point("指标"), new_point(destination=THERE)])
        store.dead_letter([point.id for point in await store.lease(HERE, 1, NOW_NS)], Reason.TOO_OLD, "")
        before = (await store.stats()).depths

    async with open_store(tmp_path) as store:
        assert (await store.stats()).depths == before


# The file.


async def test_bytes_are_about_what_the_file_takes(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.append([new_point() for _ in range(20_000)])
        counted = (await depth(store)).bytes

    assert counted == pytest.approx((tmp_path / "queue.db").stat().st_size, rel=0.25)


async def test_the_file_shrinks_after_a_burst(tmp_path: Path) -> None:
    database = tmp_path / "queue.db"
    async with open_store(tmp_path, synchronous="OFF") as store:
        await store.append([new_point() for _ in range(30_000)])
        await store.drop(range(1, 30_001))
        async with asyncio.timeout(20):
            while database.stat().st_size > 1_100_000:
                await asyncio.sleep(0.01)


async def test_a_burst_that_a_process_left_behind_is_cleared_away_by_the_next(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "queue.db", "OFF")) as connection:
        ledger = Ledger(connection, Limits())
        with ledger.transaction():
            ledger.append([row_of(new_point()) for _ in range(30_000)])
        with ledger.transaction():
            ledger.remove(range(1, 30_001))
    left_behind = (tmp_path / "queue.db").stat().st_size

    async with open_store(tmp_path), asyncio.timeout(20):
        while (tmp_path / "queue.db").stat().st_size > 1_100_000:
            await asyncio.sleep(0.01)
    assert left_behind > 3_000_000


async def test_the_log_stays_small(tmp_path: Path) -> None:
    async with open_store(tmp_path, synchronous="OFF") as store:
        for _ in range(60):
            await store.append([new_point() for _ in range(2000)])
        size = (tmp_path / "queue.db-wal").stat().st_size

    assert size < 10_000_000


async def test_the_file_holds_points_and_no_more(tmp_path: Path) -> None:
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


async def test_a_point_that_is_due_after_any_wait_is_due_now_for_the_clock_was_set_back(store: Store) -> None:
    await store.append([new_point("m")])
    [point] = await store.lease(HERE, 1, NOW_NS)
    store.postpone([point.id], NOW_NS + 86_400 * S, Reason.UPSTREAM_DOWN, "down")

    assert [each.id for each in await store.lease(HERE, 1, NOW_NS)] == [point.id]


async def test_points_that_have_not_failed_come_first_where_asked(store: Store) -> None:
    await store.append([new_point("failed"), new_point("fresh")])
    [failed] = await store.lease(HERE, 1, NOW_NS)
    store.postpone([failed.id], NOW_NS, Reason.UPSTREAM_DOWN, "down")

    leased = await store.lease(HERE, 2, NOW_NS + S, fresh_first=True)

    assert [each.point.metric for each in leased] == ["fresh", "failed"]


# A disk that hangs.


async def test_a_disk_that_hangs_refuses_in_time_and_keeps_nothing_of_what_it_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, goes_on = threading.Event(), threading.Event()
    store._writer.tell(Kind.ASK, lambda ledger: (hangs.set(), goes_on.wait(10)))
    await asyncio.to_thread(hangs.wait)
    monkeypatch.setattr("gateway.delivery.queue.store.DISK_S", 0.05)
    try:
        with pytest.raises(UpstreamError, match=r"did not answer within 0\.05 s") as refused:
            await store.append([new_point("refused")])
        with pytest.raises(UpstreamError, match="did not answer"):
            await store.stats()
        assert store._writer.waiting == 1  # it counts until the thread has seen it
    finally:
        goes_on.set()
    monkeypatch.undo()
    await store.append([new_point("kept")])

    assert refused.value.outcome.reason is Reason.QUEUE_FULL
    assert [found.point.metric for found in await store.lease(HERE, 10, NOW_NS)] == ["kept"]
    assert store._writer.waiting == 0
