"""Conversations with an upstream that asks to be polled, over real sockets."""

import time

import pytest

from gateway.core.outcome.outcome import Code, Outcome, Reason
from tests.support.reporting import reporting
from tests.support.upstream import Behaviour, Upstream, answers, garbage, in_turn, nothing, resets

POLLS = """
provider: acme
send:
  item: metric
  request: {method: POST, path: /in, json: items}
  sign: session
  poll: {every_s: 0.05}
  outcome:
    - {status: 202, poll: body.job}
    - {status: 203, poll: path_of(body.job)}
    - {status: 200, code: OK}
    - {message: body.why}
"""


def job(path: str, status: int = 202) -> Behaviour:
    return answers(status, b'{"job": "%s"}' % path.encode())


async def test_asynchronous_call_is_polled_until_done() -> None:
    behaviour = in_turn(job("/jobs/1?of=a%20b&x"), answers(202), job("/jobs/2"), answers(200))
    async with reporting(POLLS, behaviour) as acme:
        outcome = await acme.report()

    assert outcome == Outcome(Code.OK, accepted=1)
    assert acme.asked == ["POST /in", "GET /jobs/1?of=a%20b&x", "GET /jobs/1?of=a%20b&x", "GET /jobs/2"]


async def test_poll_uses_the_host_session_and_request_id_of_the_call() -> None:
    async with reporting(POLLS, in_turn(job("/jobs/1"), answers(200))) as acme:
        await acme.report()

    question = acme.upstream.received[1].decode()
    assert question == (
        f"GET /jobs/1 HTTP/1.1\r\nHost: {acme.upstream.host}\r\n"
        "X-Request-Id: request-1\r\nauthorization: case-secret\r\n\r\n"
    )


async def test_poll_is_unsigned_if_the_provider_says_so() -> None:
    unsigned = POLLS.replace("every_s: 0.05", "every_s: 0.05, sign: none")
    async with reporting(unsigned, in_turn(job("/jobs/1"), answers(200))) as acme:
        await acme.report()

    assert [b"case-secret" in raw for raw in acme.upstream.received] == [True, False]


async def test_a_job_that_fails_fails_the_call() -> None:
    failed = answers(429, b'{"why": "too many"}')
    async with reporting(POLLS, in_turn(job("/jobs/1"), answers(202), failed)) as acme:
        outcome = await acme.report()

    assert (outcome.code, outcome.reason, outcome.message) == (
        Code.RESOURCE_EXHAUSTED,
        Reason.THROTTLED,
        "too many",
    )


async def test_a_job_that_is_not_finished_by_the_deadline_is_a_timeout() -> None:
    async with reporting(POLLS, job("/jobs/1")) as acme:
        started = time.monotonic()
        outcome = await acme.report(timeout_s=0.3)

    assert (outcome.reason, outcome.message) == (Reason.UPSTREAM_TIMEOUT, "the upstream has not finished")
    assert time.monotonic() - started < 0.35
    assert len(acme.asked) >= 3


async def test_host_in_a_poll_path_is_never_contacted() -> None:
    async with Upstream(answers(200)) as other:
        behaviour = in_turn(job(f"{other.url}/jobs/1?x=1", status=203), answers(200))
        async with reporting(POLLS, behaviour) as acme:
            outcome = await acme.report()

    assert outcome.ok
    assert acme.asked == ["POST /in", "GET /jobs/1?x=1"]
    assert other.received == []


async def test_a_path_that_looks_like_a_host_is_a_path() -> None:
    async with reporting(POLLS, in_turn(job("//other.example/jobs"), answers(200))) as acme:
        outcome = await acme.report()

    assert outcome.ok
    assert acme.asked == ["POST /in", "GET //other.example/jobs"]


@pytest.mark.parametrize("named", ["http://other.example/jobs/1", "jobs/1", "/jobs/ 1", "/jobs#1", "/jöbs", "/" * 4002])
async def test_poll_of_an_invalid_path_is_not_sent(named: str) -> None:
    async with reporting(POLLS, job(named)) as acme:
        outcome = await acme.report()

    assert (outcome.reason, outcome.message) == (Reason.UPSTREAM_GARBLED, "the answer names no path to poll")
    assert acme.asked == ["POST /in"]


@pytest.mark.parametrize("lost", [resets, nothing], ids=["reset", "closed"])
async def test_lost_poll_is_repeated(lost: Behaviour) -> None:
    async with reporting(POLLS, in_turn(job("/jobs/1"), lost, lost, answers(200))) as acme:
        outcome = await acme.report()

    assert outcome.ok
    assert acme.asked == ["POST /in", *["GET /jobs/1"] * 3]


async def test_poll_with_an_invalid_answer_is_not_repeated() -> None:
    async with reporting(POLLS, in_turn(job("/jobs/1"), garbage, answers(200))) as acme:
        outcome = await acme.report()

    assert outcome.reason is Reason.UPSTREAM_GARBLED
    assert len(acme.asked) == 2


async def test_rejected_report_is_not_sent_again() -> None:
    async with reporting(POLLS, answers(400)) as acme:
        await acme.report()

    assert acme.asked == ["POST /in"]


async def test_possibly_delivered_report_is_not_sent_again() -> None:
    async with reporting(POLLS, in_turn(resets, answers(200))) as acme:
        outcome = await acme.report()

    assert outcome.reason is Reason.UPSTREAM_DOWN
    assert acme.asked == ["POST /in"]
