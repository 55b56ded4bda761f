"""An upstream that answers a report with a job, as its vendor does: polled over real sockets, told in A's words."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.vendor.route import Route
from tests.support.caller import Reply
from tests.support.gateway import datum, raw_report, running
from tests.support.upstream import Behaviour, answers, in_turn

ROUTE = """
route: out
receive: {provider: zstack, credentials: [{secret: "00000000000000000000000000000000"}]}
send: {provider: zstack, url: "${UPSTREAM}", credential: {secret: "11111111111111111111111111111111"}}
"""
REPORT = raw_report(datum(), session="OAuth 00000000000000000000000000000000")
JOB = answers(202, b'{"location": "http://10.0.0.5:8080/zstack/v1/api-jobs/5f3e"}')
RUNNING = answers(202)


def hurried(route: Route) -> Route:
    poll = route.target.send.poll
    assert poll is not None
    return replace(
        route,
        target=replace(route.target, timeout_s=0.5, send=replace(route.target.send, poll=replace(poll, every_s=0.05))),
    )


async def reported(tmp_path: Path, *turns: Behaviour) -> tuple[Reply, list[bytes]]:
    (tmp_path / "route.yaml").write_text(ROUTE)
    async with running(in_turn(*turns), routes=tmp_path, change=hurried) as gateway:
        return await gateway.send(REPORT), gateway.upstream.received


async def test_report_is_accepted_when_its_job_is_done(tmp_path: Path) -> None:
    reply, received = await reported(tmp_path, JOB, RUNNING, JOB, answers(200, b"{}"))

    assert (reply.status, reply.text) == (200, "{}")
    assert [raw.split(b" HTTP/")[0] for raw in received[1:]] == [b"GET /zstack/v1/api-jobs/5f3e"] * 3
    assert not any(b"uthorization" in raw for raw in received[1:])


@pytest.mark.parametrize(
    ("last", "said"),
    [
        pytest.param(answers(503, b'{"error": {"code": "SYS.1006", "details": "no space"}}'), "no space", id="failed"),
        pytest.param(answers(404, b"the job has been expired"), "the job has been expired", id="expired"),
        pytest.param(RUNNING, "the upstream has not finished", id="never done"),
    ],
)
async def test_failed_job_is_a_failure_in_the_vendors_dialect(tmp_path: Path, last: Behaviour, said: str) -> None:
    reply, _ = await reported(tmp_path, JOB, last)

    assert reply.status == 503
    assert f'"details":"{said}"' in reply.text


async def test_running_call_is_polled_by_its_own_id(tmp_path: Path) -> None:
    duplicate = answers(400, b"Duplicate job uuid[uuid:5f3e]")
    reply, received = await reported(tmp_path, duplicate, answers(200, b"{}"))

    job_id = re.search(rb"(?i)\r\nx-job-uuid: ([0-9a-f]{32})\r\n", received[0])
    assert reply.status == 200
    assert job_id is not None
    assert received[1].startswith(b"GET /zstack/v1/api-jobs/%s HTTP/" % job_id[1])
