"""Requests whose head suffices for verification are rejected before their body is read."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.web.body import MAX_BODIES
from tests.support.caller import LONG_S
from tests.support.gateway import SAMPLE, SESSION, Running, raw_report, running, says

UNKNOWN = "OAuth 00000000000000000000000000000000"
OTHERS = [f"127.0.0.{last}" for last in range(2, 6)]
LARGE = "Content-Length: 1000000"
# The key and signature are in the body.
BODY_SIGNED = f"POST /v2/index.php HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n{LARGE}\r\n\r\n"


def head(session: str, *headers: str) -> bytes:
    """Return a head that announces a body."""
    lines = ["POST /zstack/v1/zwatch/metrics HTTP/1.1", "Host: h", f"Authorization: {session}", LARGE, *headers]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.fixture
def addresses() -> list[str]:
    """Loopback addresses besides 127.0.0.1, which not every system has."""
    with socket.socket() as probe:
        try:
            probe.bind((OTHERS[0], 0))
        except OSError:
            pytest.skip("127.0.0.2 is no address of this machine")
    return OTHERS


@asynccontextmanager
async def occupying(gateway: Running, sent: bytes, number: int, addresses: Sequence[str]) -> AsyncIterator[None]:
    """Hold so many connections open on which only a head was sent."""
    host, _, port = gateway.gateway.address.rpartition(":")
    writers = []
    try:
        for index in range(number):
            local = (addresses[index % len(addresses)], 0)
            _, writer = await asyncio.open_connection(host, int(port), local_addr=local)
            writer.write(sent)
            writers.append(writer)
        yield
    finally:
        for writer in writers:
            writer.transport.abort()


async def until(gateway: Running, value: float, name: str, **labels: str) -> None:
    async with asyncio.timeout(4 * LONG_S):
        while await gateway.counted(name, **labels) != value:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("headers", [(), ("Expect: 100-continue",)], ids=["waiting", "asking to continue"])
async def test_an_unknown_session_is_answered_without_the_body(gateway: Running, headers: tuple[str, ...]) -> None:
    started = time.monotonic()
    async with gateway.call() as caller:
        caller.send(head(UNKNOWN, *headers))
        reply = await caller.parsed()
        assert await caller.rest() == b""

    assert time.monotonic() - started < LONG_S
    assert (reply.status, reply.header("connection")) == (503, "close")
    assert reply.json == {
        "error": {
            "code": "ID.1001",
            "description": "session expired",
            "details": "the secret or session is unknown or has expired",
        }
    }
    assert gateway.upstream.received == []


async def test_a_rejected_request_with_a_complete_body_keeps_its_connection(gateway: Running) -> None:
    async with gateway.call() as caller:
        caller.send(raw_report(SAMPLE, session=UNKNOWN))
        rejected = await caller.parsed()
        caller.send(raw_report())
        taken = await caller.parsed()

    assert (rejected.status, taken.status) == (503, 200)


async def test_heads_with_a_wrong_session_do_not_block_a_reporter(addresses: list[str]) -> None:
    async with running(says(0)) as gateway, occupying(gateway, head(UNKNOWN), 2000, addresses):
        first = await gateway.send(raw_report())
        await until(gateway, 2000, "gateway_reports_total", reason="UNKNOWN_KEY")
        unread = await gateway.counted("gateway_unverified_bodies")
        last = await gateway.send(raw_report())

    assert (first.status, last.status, unread) == (200, 200, 0)


async def test_bodies_read_for_verification_are_bounded_and_do_not_block_others(addresses: list[str]) -> None:
    """A report whose signature is in its body needs a place until its body has arrived; one with a session in its head
    does not."""
    async with running(says(0)) as gateway, occupying(gateway, BODY_SIGNED.encode(), MAX_BODIES, addresses):
        await until(gateway, MAX_BODIES, "gateway_unverified_bodies")
        body_signed = await gateway.send(raw_report("{}", target="/v2/index.php")[:-1])
        complete = await gateway.send(raw_report("{}", target="/v2/index.php"))
        by_head = await gateway.send(raw_report())

    assert body_signed.json["message"] == "too many reports are being read"
    assert complete.json["message"] != "too many reports are being read"
    assert (by_head.status, by_head.body) == (200, b"{}")


SECOND = """
route: second
receive: {provider: zstack, match: {host: second.example}, credentials: [{secret: another-session}]}
send: {provider: tencent-receiver, url: "${UPSTREAM}", credential: {key: i, secret: the-key}, given: {region: sh}}
points: {allow_loss: [time_ns]}
"""
FIRST = (
    SECOND.replace("route: second", "route: first").replace("second.example", "h").replace("another-session", SESSION)
)


async def test_verified_bodies_of_one_key_leave_room_for_others(tmp_path: Path) -> None:
    for name, text in {"first": FIRST, "second": SECOND}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    half = MAX_BODIES // 2
    slow = head(f"OAuth {SESSION}")
    other = raw_report(session="OAuth another-session").replace(b"Host: h", b"Host: second.example")

    async with running(says(0), routes=tmp_path) as gateway, occupying(gateway, slow, half, ["127.0.0.1"]):
        await until(gateway, half, "gateway_verified_bodies")
        same_key = await gateway.send(raw_report()[:-1])
        complete = await gateway.send(raw_report())
        another_key = await gateway.send(other)

    assert (same_key.status, complete.status, another_key.status) == (503, 200, 200)
    assert same_key.json["error"]["details"] == "too many reports are being read"
