"""Reports that wait for the same target travel together, over real sockets."""

import asyncio
import time
from math import log2

import pytest

from gateway.core.outcome.outcome import Code, Outcome, Reason
from gateway.delivery.dispatch import MAX_CALLS_OF_A_GROUP
from tests.support.dispatching import TAKES, acme, once, refusing, until_calls
from tests.support.upstream import Upstream, answers

GROUPS = 20


async def test_idle_lane_sends_immediately() -> None:
    async with acme(answers(200)) as here:
        assert (await here.report("a")).ok
        assert (await here.report("b", "c")).ok

    assert here.calls == [["a"], ["b", "c"]]


async def test_reports_waiting_for_the_same_target_are_coalesced() -> None:
    go = asyncio.Event()
    async with acme(once(go)) as here, asyncio.TaskGroup() as tasks:
        reports = [tasks.create_task(here.report(f"m{number}")) for number in range(20)]
        await until_calls(here, MAX_CALLS_OF_A_GROUP)
        go.set()

    first, rest = here.calls[:MAX_CALLS_OF_A_GROUP], here.calls[MAX_CALLS_OF_A_GROUP:]
    assert first == [[f"m{number}"] for number in range(MAX_CALLS_OF_A_GROUP)]
    assert rest == [[f"m{number}" for number in range(MAX_CALLS_OF_A_GROUP, 20)]]
    assert [report.result() for report in reports] == [Outcome(Code.OK, accepted=1)] * 20


async def test_reports_that_arrive_together_at_a_busy_target_share_a_call() -> None:
    go, end = asyncio.Event(), asyncio.Event()
    gates = iter([*[go] * MAX_CALLS_OF_A_GROUP, end, end])

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await next(gates).wait()
        await TAKES(reader, writer)

    async with acme(behave) as here, asyncio.TaskGroup() as tasks:
        for number in range(MAX_CALLS_OF_A_GROUP + 2):
            tasks.create_task(here.report(f"m{number}"))
        await until_calls(here, MAX_CALLS_OF_A_GROUP)
        go.set()
        await until_calls(here, MAX_CALLS_OF_A_GROUP + 1)
        for number in range(3):
            tasks.create_task(here.report(f"n{number}"))
        await until_calls(here, MAX_CALLS_OF_A_GROUP + 2)
        end.set()

    assert here.calls[MAX_CALLS_OF_A_GROUP:] == [["m4", "m5"], ["n0", "n1", "n2"]]


@pytest.mark.parametrize(
    ("limits", "coalesce", "sizes"),
    [
        pytest.param("points: 5", True, [1, 1, 1, 1, 5, 5, 5, 1], id="no more than a call may hold"),
        pytest.param("ordered: true", True, [1, 19], id="one call at a time where order counts"),
        pytest.param("", False, [1] * 20, id="none of them where the route says so"),
    ],
)
async def test_batch_sizes(limits: str, coalesce: bool, sizes: list[int]) -> None:
    go = asyncio.Event()
    async with acme(once(go), limits=limits, coalesce=coalesce) as here, asyncio.TaskGroup() as tasks:
        for number in range(20):
            tasks.create_task(here.report(f"m{number}"))
        await until_calls(here, 1)
        await asyncio.sleep(0.05)
        go.set()

    assert sorted(map(len, here.calls)) == sorted(sizes)


async def test_ordered_target_sends_uncoalesced_reports_in_sequence() -> None:
    go = asyncio.Event()
    async with acme(once(go), limits="ordered: true", coalesce=False) as here, asyncio.TaskGroup() as tasks:
        for number in range(4):
            tasks.create_task(here.report(f"m{number}"))
        await until_calls(here, 1)
        await asyncio.sleep(0.05)
        under_way = len(here.calls)
        go.set()

    assert under_way == 1
    assert here.calls == [["m0"], ["m1"], ["m2"], ["m3"]]


async def test_reports_of_different_groups_are_not_coalesced() -> None:
    go = asyncio.Event()
    async with acme(once(go), limits="ordered: true") as here, asyncio.TaskGroup() as tasks:
        for number in range(6):
            tasks.create_task(here.report(f"m{number}", namespace=f"n{number % 2}"))
        await until_calls(here, 2)
        go.set()

    assert here.calls == [["m0"], ["m1"], ["m2", "m4"], ["m3", "m5"]]


async def test_one_poison_report_among_a_thousand_is_found_in_few_further_calls() -> None:
    upstreams: list[Upstream] = []
    go = asyncio.Event()
    async with acme(once(go, refusing(upstreams, "m700")), limits="points: 1000") as here:
        upstreams.append(here.upstream)
        async with asyncio.TaskGroup() as tasks:
            held = [tasks.create_task(here.report(f"held{number}")) for number in range(MAX_CALLS_OF_A_GROUP)]
            reports = [tasks.create_task(here.report(f"m{number}")) for number in range(1000)]
            await until_calls(here, MAX_CALLS_OF_A_GROUP)
            go.set()

    outcomes = [report.result() for report in reports]
    assert all(report.result().ok for report in held)
    assert [number for number, outcome in enumerate(outcomes) if not outcome.ok] == [700]
    assert (outcomes[700].code, outcomes[700].reason) == (Code.INVALID_ARGUMENT, Reason.UPSTREAM_REJECTED)
    assert outcomes[700].message == "bad metric"
    assert len(here.calls) - MAX_CALLS_OF_A_GROUP - 1 <= 4 * log2(1000)


async def test_many_poison_reports_are_isolated_individually() -> None:
    upstreams: list[Upstream] = []
    go = asyncio.Event()
    poison = [f"m{number}" for number in range(0, 64, 2)]
    async with acme(once(go, refusing(upstreams, *poison)), limits="ordered: true") as here:
        upstreams.append(here.upstream)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(here.report("held"))
            await until_calls(here, 1)
            reports = [tasks.create_task(here.report(f"m{number}")) for number in range(64)]
            await asyncio.sleep(0.05)
            go.set()

    outcomes = [report.result() for report in reports]
    assert len(here.calls) - 2 <= 4 * log2(64) + 64
    assert {each.code for each in outcomes[::2]} == {Code.INVALID_ARGUMENT}
    assert {each.code for each in outcomes[1::2]} == {Code.OK}


@pytest.mark.parametrize("limits", ["", "ordered: true"])
async def test_recently_rejected_sender_is_not_coalesced(limits: str) -> None:
    upstreams: list[Upstream] = []
    async with acme(refusing(upstreams, "poison"), limits=limits) as here:
        upstreams.append(here.upstream)
        first = await here.report("poison", peer="192.0.2.1")
        async with asyncio.TaskGroup() as tasks:
            bad = [tasks.create_task(here.report("poison", peer="192.0.2.1")) for _ in range(20)]
            good = [tasks.create_task(here.report(f"m{number}", peer="192.0.2.2")) for number in range(20)]

    assert [report.result().code for report in bad] == [first.code] * 20 == [Code.INVALID_ARGUMENT] * 20
    assert all(report.result().ok for report in good)
    assert here.calls.count(["poison"]) == 21
    assert [call for call in here.calls if "poison" in call] == [["poison"]] * 21


@pytest.mark.parametrize("bytes_", ["", ", bytes: 1000"], ids=["when it is signed", "when it is measured"])
async def test_report_that_cannot_be_encoded_does_not_affect_others(bytes_: str) -> None:
    go = asyncio.Event()
    async with acme(once(go), limits="ordered: true" + bytes_) as here, asyncio.TaskGroup() as tasks:
        tasks.create_task(here.report("held"))
        await until_calls(here, 1)
        reports = [tasks.create_task(here.report(metric)) for metric in ("a", "\ud800", "b")]
        await asyncio.sleep(0.05)
        go.set()

    assert [report.result().code for report in reports] == [Code.OK, Code.INTERNAL, Code.OK]


async def test_rejected_item_is_mapped_to_its_report_without_further_calls() -> None:
    go = asyncio.Event()
    async with acme(once(go, answers(422, b"[2]")), limits="ordered: true") as here, asyncio.TaskGroup() as tasks:
        held = tasks.create_task(here.report("a", "b", "held"))
        await until_calls(here, 1)
        reports = [tasks.create_task(here.report(f"m{number}", f"x{number}")) for number in range(2)]
        await asyncio.sleep(0.05)
        go.set()

    assert [each.index for each in held.result().rejected] == [2]
    assert [report.result().accepted for report in reports] == [2, 1]
    assert [[each.index for each in report.result().rejected] for report in reports] == [[], [0]]
    assert here.calls == [["a", "b", "held"], ["m0", "x0", "m1", "x1"]]


async def test_report_that_waited_too_long_is_not_sent() -> None:
    go = asyncio.Event()
    async with acme(once(go), limits="ordered: true", timeout_s=0.2) as here, asyncio.TaskGroup() as tasks:
        first, second = (tasks.create_task(here.report(metric)) for metric in ("a", "b"))

    assert [report.result().reason for report in (first, second)] == [Reason.UPSTREAM_TIMEOUT] * 2
    assert here.calls == [["a"]]


async def test_a_report_of_many_groups_is_answered_by_its_deadline() -> None:
    # The first report of each group is answered just before the second would give up; then the second travels with the
    # third, which has longer to wait.
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.9 if len(here.upstream.received) <= GROUPS else 5)
        await TAKES(reader, writer)

    metrics = [f"m{number}" for number in range(GROUPS)]
    async with acme(slow, limits="ordered: true", timeout_s=1) as here, asyncio.TaskGroup() as tasks:
        tasks.create_task(here.report_groups(*metrics))
        await asyncio.sleep(0.3)
        started = time.monotonic()
        second = tasks.create_task(here.report_groups(*metrics))
        await asyncio.sleep(0.5)
        tasks.create_task(here.report_groups(*metrics))
        outcome = await second
        took_s = time.monotonic() - started

    assert outcome.reason is Reason.UPSTREAM_TIMEOUT
    assert took_s < 1.3


async def test_disconnected_reporter_does_not_cancel_its_delivery() -> None:
    go = asyncio.Event()
    async with acme(once(go), limits="ordered: true") as here:
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(here.report("a"))
            await until_calls(here, 1)
            second = tasks.create_task(here.report("b"))
            await asyncio.sleep(0.05)
            second.cancel()
            go.set()
        await until_calls(here, 2)

    assert first.result().ok
    assert here.calls == [["a"], ["b"]]
