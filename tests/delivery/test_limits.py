"""The gate before a target, over real sockets: pace, room, and leaving alone what keeps failing."""

import asyncio
import time

import pytest

from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Code, Outcome, Reason, failure
from gateway.core.sending.breaker import FAILURES
from gateway.delivery.dispatch import MAX_GROUPS
from gateway.delivery.limits import DEFAULT_CONCURRENCY, LONGEST_QUIET_S, Limiter
from gateway.delivery.transport import Deadline
from tests.support.dispatching import ACME, acme, once, until_calls
from tests.support.specs import stand_in
from tests.support.upstream import answers, in_turn

TAKES = answers(200)


async def test_calls_follow_the_vendors_rate_limit() -> None:
    started = time.monotonic()
    async with acme(TAKES, limits="requests_per_s: 20", coalesce=False) as here, asyncio.TaskGroup() as tasks:
        reports = [tasks.create_task(here.report(f"m{number}")) for number in range(6)]

    assert all(report.result().ok for report in reports)
    assert time.monotonic() - started >= 0.25


async def test_reports_waiting_for_the_rate_limit_are_coalesced() -> None:
    async with acme(TAKES, limits="requests_per_s: 10, ordered: true") as here, asyncio.TaskGroup() as tasks:
        for number in range(20):
            tasks.create_task(here.report(f"m{number}"))

    assert [len(call) for call in here.calls] == [1, 19]


async def test_call_beyond_its_deadline_because_of_the_rate_limit_is_throttled() -> None:
    async with acme(TAKES, limits="points_per_s: 1", timeout_s=0.5) as here:
        first = await here.report("a", "b")
        second = await here.report("c")

    assert first.ok
    assert (second.code, second.reason) == (Code.RESOURCE_EXHAUSTED, Reason.THROTTLED)
    assert second.retry_after_s == pytest.approx(2, abs=0.2)
    assert here.calls == [["a", "b"]]


async def test_wait_for_the_rate_limit_leaves_time_for_the_call() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.15)
        await TAKES(reader, writer)

    async with acme(slow, limits="requests_per_s: 10", timeout_s=1) as here:
        async with asyncio.TaskGroup() as tasks:
            reports = [tasks.create_task(here.report("m", namespace=f"n{number}")) for number in range(30)]
        (state,) = here.limiter.states()

    reasons = [report.result().reason for report in reports]
    assert set(reasons) == {None, Reason.THROTTLED}
    assert reasons.count(None) == len(here.calls) >= 5
    assert state.breaker == "closed"


async def test_no_more_calls_are_under_way_than_the_vendor_allows() -> None:
    go = asyncio.Event()
    async with acme(once(go), limits="concurrency: 2", coalesce=False) as here, asyncio.TaskGroup() as tasks:
        reports = [tasks.create_task(here.report(f"m{number}")) for number in range(6)]
        await until_calls(here, 2)
        await asyncio.sleep(0.05)
        under_way = len(here.calls)
        go.set()

    assert under_way == 2
    assert all(report.result().ok for report in reports)


async def test_report_without_room_before_its_deadline_is_throttled() -> None:
    go = asyncio.Event()
    async with (
        acme(once(go), limits="concurrency: 1", coalesce=False, timeout_s=0.2) as here,
        asyncio.TaskGroup() as tasks,
    ):
        reports = [tasks.create_task(here.report(f"m{number}")) for number in range(2)]

    assert {report.result().reason for report in reports} == {Reason.UPSTREAM_TIMEOUT, Reason.THROTTLED}
    assert len(here.calls) == 1


async def test_many_groups_in_one_report_do_not_pause_a_healthy_target() -> None:
    async with acme(TAKES, timeout_s=60) as here:
        outcome = await here.report_groups(*[f"n{number}" for number in range(MAX_GROUPS)])
        (state,) = here.limiter.states()

    assert outcome.ok
    assert state.breaker == "closed"
    assert here.upstream.connections <= DEFAULT_CONCURRENCY


async def test_a_report_that_needs_thousands_of_calls_is_rejected() -> None:
    async with acme(TAKES) as here:
        with pytest.raises(CallerError) as caught:
            await here.report_groups(*[f"n{number}" for number in range(MAX_GROUPS + 1)])

    assert caught.value.outcome.reason is Reason.TOO_LARGE
    assert here.calls == []


async def test_retry_after_delays_the_next_call() -> None:
    behaviour = in_turn(answers(429, b"slower", (("Retry-After", "1"),)), TAKES)
    async with acme(behaviour) as here:
        first = await here.report("a")
        started = time.monotonic()
        second = await here.report("b")

    assert (first.reason, first.retry_after_s) == (Reason.THROTTLED, 1)
    assert second.ok
    assert time.monotonic() - started >= 0.9


async def test_retry_after_of_days_is_capped() -> None:
    async with acme(answers(429, b"slower", (("Retry-After", "999999"),))) as here:
        await here.report("a")
        second = await here.report("b")

    assert second.retry_after_s == pytest.approx(LONGEST_QUIET_S, abs=1)


async def test_failing_target_is_paused_then_probed_once() -> None:
    behaviour = in_turn(*[answers(503, b"ill")] * FAILURES, TAKES)
    async with acme(behaviour) as here:
        failed = [await here.report(f"m{number}") for number in range(FAILURES)]
        refused = await here.report("at once")
        (state,) = here.limiter.states()
        await asyncio.sleep(1.05)
        taken = await here.report("probe")
        (after,) = here.limiter.states()

    assert {each.reason for each in failed} == {Reason.UPSTREAM_DOWN}
    assert (refused.reason, refused.message) == (
        Reason.UPSTREAM_DOWN,
        "the target is paused for 1 s, because it failed: ill",
    )
    assert (state.breaker, state.cause) == ("open", "ill")
    assert taken.ok
    assert after.breaker == "closed"
    assert len(here.calls) == FAILURES + 1


async def test_one_call_probes_a_paused_target_while_others_fail_immediately() -> None:
    go = asyncio.Event()
    behaviour = in_turn(answers(401, b"who are you"), once(go))
    async with acme(behaviour, coalesce=False) as here:
        await here.report("a")
        await asyncio.sleep(1.05)
        async with asyncio.TaskGroup() as tasks:
            probe = tasks.create_task(here.report("probe"))
            await until_calls(here, 2)
            other = await here.report("other")
            go.set()

    assert probe.result().ok
    assert (other.code, other.reason) == (Code.UNAVAILABLE, Reason.UPSTREAM_AUTH)


async def test_rejected_data_points_do_not_pause_the_target() -> None:
    async with acme(answers(400, b"bad")) as here:
        outcomes = [await here.report("a") for _ in range(FAILURES + 1)]

    assert [each.message for each in outcomes] == ["bad"] * (FAILURES + 1)
    assert outcomes[0] == Outcome(Code.INVALID_ARGUMENT, Reason.UPSTREAM_REJECTED, "bad", rejected=outcomes[0].rejected)


async def test_internal_error_does_not_change_the_breaker() -> None:
    limiter, target = Limiter(), stand_in(ACME.replace("LIMITS", "")).target
    for outcome in (Outcome(Code.UNAUTHENTICATED, Reason.UPSTREAM_AUTH), failure(Reason.INTERNAL, "no such name")):
        limiter.end(await limiter.admit(target, 1, Deadline.after(1)), outcome)
        await asyncio.sleep(limiter.paused_for_s(target) + 0.01)

    (state,) = limiter.states()
    assert state.breaker == "open"


async def test_targets_of_removed_routes_are_forgotten_once_they_have_no_calls() -> None:
    go = asyncio.Event()
    async with acme(once(go)) as here:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(here.report("a"))
            await until_calls(here, 1)
            here.limiter.keep([])
            under_way = [state.under_way for state in here.limiter.states()]
            go.set()
        here.limiter.keep([here.route.target])
        kept = len(list(here.limiter.states()))
        here.limiter.keep([])

        assert (under_way, kept, list(here.limiter.states())) == ([1], 1, [])
