"""Conversations with an upstream that wants each metric declared first, over real sockets."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.core.outcome.outcome import Code, Outcome, Reason
from gateway.core.points.decode import Item
from gateway.core.points.point import DataPoint
from gateway.core.sending.declare import DeclaringCall, declaration_keys
from gateway.delivery.declarations import Declarations
from gateway.delivery.transport import Deadline
from tests.support.reporting import Reporting, reporting
from tests.support.specs import stand_in
from tests.support.upstream import Behaviour, answers, in_turn

DECLARES = """
provider: acme
needs: [project]
send:
  item: metric
  request: {method: POST, path: "/{given.project}", json: items}
  sign: session
  poll: {every_s: 0.05}
  declare:
    unique_by: [metric]
    item: metric
    request: {method: POST, path: /meta, json: items}
    outcome: [{status: 202, poll: body.job}, {status: [200, 409], code: OK}, {message: body.why}]
  outcome: [{status: 200, code: OK}, {message: body.why, rejected: {each: body.bad, index: "@"}}]
"""
TAKEN, REFUSED = answers(200), answers(400, b'{"why": "not so"}')
DECLARE, REPORT = "POST /meta", "POST /project"


class Vendor:
    """An upstream that takes metrics which were declared, and can be slow, or refuse one, or forget them all."""

    def __init__(self, *, delay_s: float = 0, refuses: str = "", code: int = 400) -> None:
        self.declared: set[str] = set()
        self.received: list[bytes] = []  # those of the `Upstream` that behaves so
        self._delay_s = delay_s
        self._refuses = refuses
        self._unknown = answers(code, b'{"why": "unknown metric"}')

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, _, body = self.received[-1].partition(b"\r\n\r\n")
        await (await self._answer(head, set(json.loads(body))))(reader, writer)

    async def _answer(self, head: bytes, metrics: set[str]) -> Behaviour:
        if b" /meta " not in head:
            return TAKEN if metrics <= self.declared else self._unknown
        await asyncio.sleep(self._delay_s)
        if self._refuses in metrics:
            return REFUSED
        self.declared |= metrics
        return TAKEN


@asynccontextmanager
async def reporting_to(vendor: Vendor) -> AsyncIterator[Reporting]:
    async with reporting(DECLARES, vendor) as acme:
        vendor.received = acme.upstream.received
        yield acme


def bodies(acme: Reporting) -> list[Any]:
    return [json.loads(raw.partition(b"\r\n\r\n")[2]) for raw in acme.upstream.received]


async def test_new_metrics_are_declared_once_before_the_report() -> None:
    async with reporting(DECLARES, TAKEN) as acme:
        outcomes = [await acme.report(*metrics) for metrics in (["cpu"], ["cpu"], ["cpu", "mem", "mem"])]

    assert all(outcome.ok for outcome in outcomes)
    assert acme.asked == [DECLARE, REPORT, REPORT, DECLARE, REPORT]
    assert bodies(acme) == [["cpu"], ["cpu"], ["cpu"], ["mem"], ["cpu", "mem", "mem"]]


async def test_a_declaration_is_signed_as_the_report_is_and_has_our_request_id() -> None:
    async with reporting(DECLARES, TAKEN) as acme:
        await acme.report()

    declaration = acme.upstream.received[0].decode()
    assert "\r\nauthorization: case-secret\r\n" in declaration
    assert "\r\nX-Request-Id: request-1\r\n" in declaration


async def test_many_reports_of_one_new_metric_make_one_declaration() -> None:
    vendor = Vendor(delay_s=0.1)
    async with reporting_to(vendor) as acme:
        outcomes = await asyncio.gather(*(acme.report() for _ in range(20)))

    assert all(outcome.ok for outcome in outcomes)
    assert acme.asked.count(DECLARE) == 1


@pytest.mark.parametrize("code", [400, 404])
async def test_forgotten_declaration_is_repeated_and_the_report_arrives(code: int) -> None:
    vendor = Vendor(code=code)
    async with reporting_to(vendor) as acme:
        await acme.report()
        vendor.declared.clear()
        outcome = await acme.report()

    assert outcome.ok
    assert acme.asked == [DECLARE, REPORT, REPORT, DECLARE, REPORT]


async def test_many_reports_to_an_upstream_that_forgot_declare_it_once_more() -> None:
    vendor = Vendor(delay_s=0.1)
    async with reporting_to(vendor) as acme:
        await acme.report()
        vendor.declared.clear()
        outcomes = await asyncio.gather(*(acme.report() for _ in range(20)))

    assert all(outcome.ok for outcome in outcomes)
    assert acme.asked.count(DECLARE) == 2


async def test_report_is_repeated_once_after_a_new_declaration() -> None:
    behaviour = in_turn(TAKEN, TAKEN, REFUSED, TAKEN, REFUSED)
    async with reporting(DECLARES, behaviour) as acme:
        await acme.report()
        outcome = await acme.report()

    assert (outcome.reason, outcome.message) == (Reason.UPSTREAM_REJECTED, "not so")
    assert acme.asked == [DECLARE, REPORT, REPORT, DECLARE, REPORT]


async def test_report_rejected_right_after_its_declaration_is_not_repeated() -> None:
    async with reporting(DECLARES, in_turn(TAKEN, REFUSED)) as acme:
        outcome = await acme.report()

    assert (outcome.reason, outcome.message) == (Reason.UPSTREAM_REJECTED, "not so")
    assert acme.asked == [DECLARE, REPORT]


async def test_partially_accepted_report_is_not_repeated() -> None:
    behaviour = in_turn(TAKEN, TAKEN, answers(400, b'{"why": "not so", "bad": [1]}'), TAKEN)
    async with reporting(DECLARES, behaviour) as acme:
        await acme.report("cpu", "mem")
        outcome = await acme.report("cpu", "mem")
        await acme.report("mem")

    assert (outcome.reason, outcome.accepted) == (Reason.PARTIAL, 1)
    assert acme.asked == [DECLARE, REPORT, REPORT, DECLARE, REPORT]


async def test_rejected_declaration_fails_the_report_and_is_repeated_by_the_next() -> None:
    async with reporting(DECLARES, in_turn(REFUSED, TAKEN)) as acme:
        first, second = await acme.report(), await acme.report()

    assert (first.code, first.reason) == (Code.INVALID_ARGUMENT, Reason.UPSTREAM_REJECTED)
    assert first.message == "declaring: not so"
    assert second.ok
    assert acme.asked == [DECLARE, DECLARE, REPORT]


async def test_rejected_declaration_fails_all_waiting_reports() -> None:
    vendor = Vendor(delay_s=0.1, refuses="cpu")
    async with reporting_to(vendor) as acme:
        outcomes = await asyncio.gather(*(acme.report() for _ in range(20)))

    assert {outcome.message for outcome in outcomes} == {"declaring: not so"}
    assert acme.asked == [DECLARE]


async def test_rejected_declaration_does_not_affect_reports_without_its_keys() -> None:
    vendor = Vendor(delay_s=0.1, refuses="cpu")
    async with reporting_to(vendor) as acme:
        both, less = await asyncio.gather(acme.report("cpu", "mem"), acme.report("mem"))

    assert (both.ok, less.ok) == (False, True)


async def test_waiting_for_a_declaration_ends_at_the_own_deadline() -> None:
    vendor = Vendor(delay_s=1)
    async with reporting_to(vendor) as acme:
        started = time.monotonic()
        outcomes = await asyncio.gather(acme.report(timeout_s=0.2), acme.report(timeout_s=0.1))

    assert [outcome.reason for outcome in outcomes] == [Reason.UPSTREAM_TIMEOUT] * 2
    assert time.monotonic() - started < 0.5
    assert REPORT not in acme.asked


async def test_waiting_report_declares_after_the_first_one_times_out() -> None:
    vendor = Vendor(delay_s=0.2)
    async with reporting_to(vendor) as acme:
        hasty, patient = await asyncio.gather(acme.report(timeout_s=0.1), acme.report(timeout_s=1))

    assert (hasty.ok, patient.ok) == (False, True)


async def test_declaration_is_per_project() -> None:
    async with reporting(DECLARES, TAKEN) as acme:
        await acme.report(given={"project": "a"})
        await acme.report(given={"project": "b"})

    assert acme.asked == [DECLARE, "POST /a", DECLARE, "POST /b"]


async def test_asynchronous_declaration_is_polled() -> None:
    job = answers(202, b'{"job": "/jobs/1"}')
    async with reporting(DECLARES, in_turn(job, job, TAKEN)) as acme:
        outcome = await acme.report()

    assert outcome.ok
    assert acme.asked == [DECLARE, "GET /jobs/1", "GET /jobs/1", REPORT]


LARGER = DECLARES.replace("    item: metric", "    item: {m: metric}")


async def test_declarations_that_are_too_many_bytes_go_in_several_calls() -> None:
    async with reporting(LARGER.replace("send:", "limits: {bytes: 14}\nsend:"), TAKEN) as acme:
        outcome = await acme.report("aaa", "bbb")

    assert outcome.ok
    assert bodies(acme) == [[{"m": "aaa"}], [{"m": "bbb"}], ["aaa", "bbb"]]


async def test_declaration_larger_than_a_call_is_too_large() -> None:
    async with reporting(LARGER.replace("send:", "limits: {bytes: 12}\nsend:"), TAKEN) as acme:
        outcome = await acme.report("aaa")

    assert (outcome.reason, outcome.message) == (
        Reason.TOO_LARGE,
        "one declaration takes more than the 12 bytes of a call",
    )
    assert acme.asked == []


async def test_cancelled_declaration_does_not_use_up_the_deadline_of_others() -> None:
    job = answers(202, b'{"job": "/jobs/1"}')
    async with reporting(DECLARES, in_turn(job, job, TAKEN)) as acme:
        hasty, patient = await asyncio.gather(acme.report(timeout_s=0.08), acme.report(timeout_s=1))

    assert (hasty.reason, patient.ok) == (Reason.UPSTREAM_TIMEOUT, True)


class Told:
    """What `Declarations` sent, by metric."""

    def __init__(self, max_declared: int = 10) -> None:
        self.sent: list[str] = []
        self.declarations = Declarations(max_declared=max_declared)
        self.target = stand_in(DECLARES).target

    async def declare(self, metric: str) -> Mapping[bytes, int]:
        needed = declaration_keys(self.target, [Item(0, None, DataPoint(metric, 1, value=1))])
        return await self.declarations.declare(self.target, needed, self._send, Deadline.after(1))

    async def _send(self, declaring: DeclaringCall) -> Outcome:
        self.sent += declaring.request.body
        return Outcome(Code.OK)


async def test_memory_of_what_was_declared_is_bounded() -> None:
    told = Told(max_declared=2)

    for metric in ("a", "b", "a", "c", "a", "b"):
        await told.declare(metric)

    assert told.sent == ["a", "b", "c", "b"]


async def test_declaration_repeated_in_the_meantime_is_not_forgotten() -> None:
    told = Told()

    await told.declare("a")
    first = await told.declare("a")
    for _ in range(2):  # two reports that were refused after that declaration
        told.declarations.forget(told.target, first)
        await told.declare("a")

    assert told.sent == ["a", "a"]
