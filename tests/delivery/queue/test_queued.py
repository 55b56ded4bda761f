"""Queued delivery from a report to its upstream, over real sockets and a real file."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.core.http.request import PublicUrl
from gateway.core.outcome.errors import GatewayError
from gateway.core.outcome.outcome import Code, Outcome, Reason
from gateway.core.vendor.routing import make_snapshot
from gateway.delivery.queue import Destination, Limits, PointFilter, Store
from gateway.delivery.queue.writer import Kind
from tests.support.dispatching import ACME, once, refusing
from tests.support.queueing import queued_route, queueing
from tests.support.upstream import Behaviour, Upstream, answers, hangs, in_turn, resets

TAKES = answers(200)
AGED = ACME.replace("send:\n", "rules: {time_ns: {max_age_s: 60}}\nsend:\n")


def metrics(upstream: Upstream) -> list[list[str]]:
    return [json.loads(raw.partition(b"\r\n\r\n")[2]) for raw in upstream.received]


async def in_database(store: Store, statement: str) -> None:
    """Run a statement on the connection of the store, which locks the file for others."""
    await store._writer.submit(Kind.READ, lambda ledger: ledger._connection.execute(statement) and None)


def with_metric(upstreams: Sequence[Upstream], metric: str, behaviour: Behaviour) -> Behaviour:
    """Apply the behaviour to calls with that metric; accept others."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (behaviour if metric in metrics(upstreams[0])[-1] else TAKES)(reader, writer)

    return behave


async def test_a_report_is_stored_and_delivered(tmp_path: Path) -> None:
    async with Upstream(TAKES) as upstream, queueing(tmp_path, queued_route(upstream)) as queue:
        outcome = await queue.report("a", "b")
        await queue.until_empty()

    assert outcome == Outcome(Code.OK, accepted=2)
    assert metrics(upstream) == [["a", "b"]]


async def test_success_does_not_wait_for_the_upstream(tmp_path: Path) -> None:
    go = asyncio.Event()
    async with Upstream(once(go)) as upstream, queueing(tmp_path, queued_route(upstream)) as queue:
        async with asyncio.timeout(1):
            outcome = await queue.report("a")
        go.set()
        await queue.until_empty()

    assert outcome.ok


async def test_undelivered_points_are_delivered_after_a_restart(tmp_path: Path) -> None:
    go = asyncio.Event()
    async with Upstream(once(go)) as upstream:
        route = queued_route(upstream)
        async with queueing(tmp_path, route) as queue:
            await queue.report("a")
            await queue.report("b")
        go.set()
        async with queueing(tmp_path, route) as queue:
            await queue.until_empty()

    assert {metric for call in metrics(upstream) for metric in call} == {"a", "b"}


@pytest.mark.parametrize("bad", [answers(503, b"ill"), answers(429, b"slower"), resets], ids=["503", "429", "reset"])
async def test_a_temporary_failure_is_retried(tmp_path: Path, bad: object) -> None:
    behaviour = in_turn(bad, TAKES)  # type: ignore[arg-type]  # a behaviour each
    async with Upstream(behaviour) as upstream, queueing(tmp_path, queued_route(upstream)) as queue:
        await queue.report("a")
        await queue.until_empty()
        dead_letters = await queue.dead_letters()

    assert metrics(upstream) == [["a"], ["a"]]
    assert dead_letters == []


async def test_a_failing_target_is_logged_once_and_so_are_changes_of_its_error_and_its_recovery(tmp_path: Path) -> None:
    ill = [answers(503, b"node 1234 is down"), answers(503, b"node 1235 is down"), answers(429, b"slower")]
    with capture_logs() as logs:
        async with Upstream(in_turn(*ill, TAKES)) as upstream, queueing(tmp_path, queued_route(upstream)) as queue:
            await queue.report("a")
            await queue.until_empty()

    found = [entry for entry in logs if entry["event"].startswith("target_")]
    assert [(entry["event"], entry.get("reason"), entry["attempts"]) for entry in found] == [
        ("target_failing", "UPSTREAM_DOWN", 1),
        ("target_error_changed", "THROTTLED", 3),
        ("target_recovered", None, 3),
    ]
    assert all((entry["route"], entry["target"]) == (queue.route.name, "send") for entry in found)
    assert found[0]["next_attempt_in_s"] >= 0


async def test_points_answered_with_404_become_dead_letters_and_do_not_block_others(tmp_path: Path) -> None:
    upstreams: list[Upstream] = []
    poison = with_metric(upstreams, "poison", answers(404, b"no such metric"))
    async with Upstream(poison) as upstream:
        upstreams.append(upstream)
        async with queueing(tmp_path, queued_route(upstream)) as queue:
            for number in range(2):
                await queue.report("poison", f"p{number}")
            for number in range(40):
                await queue.report(f"good{number}")
            async with asyncio.timeout(20):
                while len({metric for call in metrics(upstream) for metric in call if "poison" not in call}) < 40:
                    await asyncio.sleep(0.01)
            await queue.until_empty(60)
            dead_letters = await queue.dead_letters()

    assert {each.message for each in dead_letters} == {"no such metric"}
    assert len(dead_letters) == 4


async def test_a_rejected_report_becomes_a_dead_letter_with_the_error_of_the_upstream_and_affects_no_other(
    tmp_path: Path,
) -> None:
    upstreams: list[Upstream] = []
    go = asyncio.Event()
    async with Upstream(once(go, refusing(upstreams, "bad"))) as upstream:
        upstreams.append(upstream)
        async with queueing(tmp_path, queued_route(upstream, limits="ordered: true")) as queue:
            for metric in ("a", "bad", "b"):
                await queue.report(metric)
            go.set()
            await queue.until_empty()
            dead_letters = await queue.dead_letters()

    assert [(each.report_id, each.reason, each.message) for each in dead_letters] == [
        ("report-bad", "UPSTREAM_REJECTED", "bad metric")
    ]
    taken = [call for call in metrics(upstream) if "bad" not in call]
    assert sorted(metric for call in taken for metric in call) == ["a", "b"]


async def test_many_rejected_reports_do_not_block_the_queue(tmp_path: Path) -> None:
    bad = [f"bad{number}" for number in range(60)]
    upstreams: list[Upstream] = []
    go = asyncio.Event()
    async with Upstream(once(go, refusing(upstreams, *bad))) as upstream:
        upstreams.append(upstream)
        async with queueing(tmp_path, queued_route(upstream)) as queue:
            for metric in ("first", *bad, "good"):
                await queue.report(metric)
            go.set()
            await queue.until_empty()
            dead_letters = await queue.dead_letters()

    assert sorted(each.report_id for each in dead_letters) == sorted(f"report-{metric}" for metric in bad)
    assert "good" in [metric for call in metrics(upstream) for metric in call]


async def test_a_rejected_item_becomes_a_dead_letter_and_the_others_are_delivered(tmp_path: Path) -> None:
    async with Upstream(answers(422, b"[1]")) as upstream, queueing(tmp_path, queued_route(upstream)) as queue:
        await queue.report("a", "b", "c")
        await queue.until_empty()
        dead_letters = await queue.dead_letters()

    assert metrics(upstream) == [["a", "b", "c"]]
    assert [(each.index, each.message) for each in dead_letters] == [(1, "named")]


async def test_a_point_that_became_too_old_becomes_a_dead_letter(tmp_path: Path) -> None:
    go = asyncio.Event()
    behaviour = in_turn(once(go, answers(503)), TAKES)
    async with Upstream(behaviour) as upstream, queueing(tmp_path, queued_route(upstream, AGED)) as queue:
        await queue.report("old", time_ns=time.time_ns() - 59_800_000_000)
        await queue.report("new")
        await asyncio.sleep(0.3)
        go.set()
        await queue.until_empty()
        dead_letters = await queue.dead_letters()

    assert [(each.report_id, each.reason) for each in dead_letters] == [("report-old", "TOO_OLD")]
    assert "new" in metrics(upstream)[-1]


async def test_accepted_points_are_deleted_while_another_call_hangs(tmp_path: Path) -> None:
    go = asyncio.Event()
    upstreams: list[Upstream] = []
    async with Upstream(once(go, with_metric(upstreams, "hang", hangs))) as upstream:
        upstreams.append(upstream)
        async with queueing(tmp_path, queued_route(upstream)) as queue:
            await queue.report("first")
            await asyncio.sleep(0.05)
            await queue.report("hang", namespace="one")
            await queue.report("taken", namespace="other")
            go.set()
            async with asyncio.timeout(1):
                while len(left := await queue.store.points(PointFilter())) > 1:
                    await asyncio.sleep(0.01)

    assert [each.report_id for each in left] == ["report-hang"]


async def test_a_report_at_which_the_upstream_always_fails_does_not_block_others(tmp_path: Path) -> None:
    go = asyncio.Event()
    upstreams: list[Upstream] = []
    async with Upstream(once(go, with_metric(upstreams, "ill", answers(500)))) as upstream:
        upstreams.append(upstream)
        async with queueing(tmp_path, queued_route(upstream)) as queue:
            for metric in ("first", "ill", "a", "b"):
                await queue.report(metric)
            go.set()
            async with asyncio.timeout(15):
                while len(left := await queue.store.points(PointFilter())) > 1:
                    await asyncio.sleep(0.05)

    assert [each.report_id for each in left] == ["report-ill"]


async def test_a_point_whose_route_is_gone_becomes_a_dead_letter(tmp_path: Path) -> None:
    go = asyncio.Event()
    async with Upstream(once(go, answers(503))) as upstream, queueing(tmp_path, queued_route(upstream)) as queue:
        await queue.report("a")
        queue.snapshot = make_snapshot([])
        go.set()
        await queue.until_empty()
        dead_letters = await queue.dead_letters()

    assert [each.reason for each in dead_letters] == ["ROUTE_GONE"]


async def test_after_a_reload_stored_points_are_encoded_with_the_new_specs(tmp_path: Path) -> None:
    go = asyncio.Event()
    async with Upstream(once(go)) as upstream, queueing(tmp_path, queued_route(upstream)) as queue:
        await queue.report("first")
        await asyncio.sleep(0.05)
        await queue.report("second")
        changed = queued_route(upstream, ACME.replace("item: metric", "item: \"join('', [metric, '!'])\""))
        queue.snapshot = make_snapshot([changed])
        go.set()
        await queue.until_empty()

    assert metrics(upstream) == [["first"], ["second!"]]


async def test_delivery_continues_after_the_disk_could_not_be_read(tmp_path: Path) -> None:
    async with Upstream(TAKES) as upstream, queueing(tmp_path, queued_route(upstream)) as queue:
        await queue.report("a")
        await queue.until_empty()
        await in_database(queue.store, "ALTER TABLE points RENAME TO unreadable")
        queue.outgoing.wake(Destination(queue.route.name, queue.route.target.name))
        await asyncio.sleep(0.2)
        await in_database(queue.store, "ALTER TABLE unreadable RENAME TO points")
        await queue.report("b")
        await queue.until_empty()

    assert metrics(upstream) == [["a"], ["b"]]


async def test_no_worker_starts_after_closing(tmp_path: Path) -> None:
    async with Upstream(TAKES) as upstream, queueing(tmp_path, queued_route(upstream)) as queue:
        await queue.report("a")
        await queue.until_empty()
    tasks = asyncio.all_tasks()

    queue.outgoing.wake(Destination("acme", "new"))

    assert asyncio.all_tasks() == tasks


async def test_a_dead_letter_that_is_retried_is_delivered(tmp_path: Path) -> None:
    behaviour = in_turn(answers(400, b"no"), TAKES)
    async with Upstream(behaviour) as upstream, queueing(tmp_path, queued_route(upstream)) as queue:
        await queue.report("a")
        await queue.until_empty()
        (dead,) = await queue.dead_letters()
        await queue.store.retry(PointFilter(ids=[dead.id]))
        queue.outgoing.wake(Destination(dead.route, dead.target))
        await queue.until_empty()

    assert metrics(upstream) == [["a"], ["a"]]


async def test_at_the_limit_new_reports_are_rejected_and_stored_ones_stay(tmp_path: Path) -> None:
    go = asyncio.Event()
    limits = Limits(max_points=2, share=1)
    async with Upstream(once(go)) as upstream, queueing(tmp_path, queued_route(upstream), limits=limits) as queue:
        await queue.report("a", "b")
        with pytest.raises(GatewayError) as caught:
            await queue.report("c")
        go.set()
        await queue.until_empty()

    assert caught.value.outcome.reason is Reason.QUEUE_FULL
    assert metrics(upstream) == [["a", "b"]]


async def test_a_point_too_large_for_any_call_is_rejected_at_once(tmp_path: Path) -> None:
    async with Upstream(TAKES) as upstream, queueing(tmp_path, queued_route(upstream, limits="bytes: 20")) as queue:
        outcome = await queue.report("a" * 50, "b")
        await queue.until_empty()

    assert (outcome.reason, [each.reason for each in outcome.rejected]) == (Reason.PARTIAL, [Reason.TOO_LARGE])
    assert metrics(upstream) == [["b"]]


async def test_reports_waiting_in_the_queue_are_sent_in_one_call(tmp_path: Path) -> None:
    go = asyncio.Event()
    async with Upstream(once(go)) as upstream, queueing(tmp_path, queued_route(upstream)) as queue:
        await queue.report("first")
        await asyncio.sleep(0.05)
        for number in range(20):
            await queue.report(f"m{number}")
        go.set()
        await queue.until_empty()

    assert metrics(upstream) == [["first"], [f"m{number}" for number in range(20)]]


async def test_mirrors_get_the_points_and_do_not_delay_or_fail_the_report(tmp_path: Path) -> None:
    go = asyncio.Event()
    async with Upstream(TAKES) as upstream, Upstream(once(go, answers(400))) as direct, Upstream(TAKES) as stored:
        route = queued_route(upstream)
        mirrors = (
            replace(route.target, name="direct", url=PublicUrl("http", direct.host), queued=False),
            replace(route.target, name="stored", url=PublicUrl("http", stored.host)),
        )
        async with queueing(tmp_path, replace(route, mirrors=mirrors)) as queue:
            async with asyncio.timeout(1):
                outcome = await queue.report("a")
            await queue.until_empty()
            go.set()

    assert outcome.ok
    assert [metrics(each) for each in (upstream, direct, stored)] == [[["a"]], [["a"]], [["a"]]]


async def test_a_full_mirror_does_not_fail_the_report(tmp_path: Path) -> None:
    go = asyncio.Event()
    async with Upstream(TAKES) as upstream, Upstream(once(go)) as mirror:
        route = queued_route(upstream)
        mirrors = (replace(route.target, name="copy", url=PublicUrl("http", mirror.host)),)
        limits = Limits(max_points=4, share=0.5)
        async with queueing(tmp_path, replace(route, mirrors=mirrors), limits=limits) as queue:
            outcomes = []
            for number in range(5):
                outcomes.append(await queue.report(f"m{number}"))
                async with asyncio.timeout(5):
                    while len(upstream.received) <= number:
                        await asyncio.sleep(0.01)
            go.set()

    assert all(outcome.ok for outcome in outcomes)


async def test_retried_reports_to_an_ordered_target_keep_their_order(tmp_path: Path) -> None:
    behaviour = in_turn(answers(503), answers(503), answers(503), TAKES)
    names = [f"m{number}" for number in range(12)]
    limits = "ordered: true, points: 4"
    async with Upstream(behaviour) as upstream, queueing(tmp_path, queued_route(upstream, limits=limits)) as queue:
        await asyncio.gather(*(queue.report(name) for name in names))
        await queue.until_empty()

    taken = [metric for call in metrics(upstream)[3:] for metric in call]
    assert taken == sorted(taken, key=names.index)
