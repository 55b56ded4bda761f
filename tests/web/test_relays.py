"""Relays over real sockets: the answer is passed on byte for byte while it arrives."""

import asyncio
import gzip
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.tls import Pair
from tests.support.caller import LONG_S, Caller, call, exchange
from tests.support.certificates import Authority
from tests.support.gateway import Running, running, with_deadline
from tests.support.upstream import (
    Behaviour,
    answers,
    free_port,
    garbage,
    half_answers,
    hangs,
    in_turn,
    nothing,
    resets,
    writes,
)

IMAGE = """
provider: image
relay: true
given: {version: v2}
receive:
  request: {method: POST, path: "/old/{room}", body: json}
  verify: [zstack-session]
  reject_report: [{when: "!(body.start)", reason: MISSING_FIELD, text: start is missing}]
  replies:
    error: {status: error.status, json: {ours: reason}}
    errors: {INVALID_ARGUMENT: {status: 422}, default: {status: 555}}
send:
  request:
    method: POST
    path: "/new/{given.room}"
    query: {q: query.q}
    headers: {x-version: "{given.version}", accept-language: "{headers.accept_language}"}
    json: {from: body.start, list: body.list}
  sign: zstack-session
---
route: image
receive: {provider: image, from: [127.0.0.1/32], credentials: [{secret: old}]}
send: {provider: image, url: "${UPSTREAM}", credential: {secret: new}}
"""
LOOK = """
provider: look
relay: true
receive: {request: {method: HEAD, path: "/old/{room}"}, verify: [zstack-session]}
send: {request: {method: HEAD, path: /new}}
---
route: look
receive: {provider: look, from: [127.0.0.1/32], credentials: [{secret: old}]}
send: {provider: look, url: "${UPSTREAM}"}
"""
PNG = b"\x89PNG\r\n\x1a\n\x00" + hashlib.shake_256(b"png").digest(5 * 2**20)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    (tmp_path / "image.yaml").write_text(IMAGE)
    return tmp_path


def raw_call(body: str = '{"start": 1}', *headers: str, session: str = "old", version: str = "1.1") -> bytes:
    lines = [f"POST /old/cellar?q=a%26b HTTP/{version}", "Host: h", f"Authorization: OAuth {session}", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body.encode())}", "", body]).encode()


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n", headers: bytes = b"") -> Behaviour:
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return writes(b"HTTP/1.1 200 OK\r\n" + headers + b"Transfer-Encoding: chunked\r\n\r\n" + framed + end)


async def unchunked(caller: Caller) -> bytes:
    """Read a body in chunks, to its proper end."""
    body = b""
    async with asyncio.timeout(LONG_S):
        while size := int(await caller.reader.readuntil(b"\r\n"), 16):
            body += await caller.reader.readexactly(size)
            await caller.reader.readexactly(2)
        assert await caller.reader.readexactly(2) == b"\r\n"
    return body


async def breaks_off(caller: Caller) -> bytes:
    """Read what comes until the connection ends, by a reset."""
    seen = b""
    with pytest.raises(ConnectionResetError):
        async with asyncio.timeout(LONG_S):
            while True:
                data = await caller.reader.read(65536)
                assert data, "the connection ended as if all were said"
                seen += data
    return seen


async def logged(logs: list[Any]) -> dict[str, Any]:
    """Wait for the line of the call."""
    async with asyncio.timeout(LONG_S):
        while not any(entry["event"] == "report" for entry in logs):
            await asyncio.sleep(0.01)
    return next(dict(entry) for entry in logs if entry["event"] == "report")


@asynccontextmanager
async def logs_of(*arguments: Any, **settings: Any) -> AsyncIterator[tuple[Running, list[Any]]]:
    with capture_logs() as logs:  # type: ignore[var-annotated]
        async with running(*arguments, **settings) as gateway:
            yield gateway, logs


# The call.


async def test_the_call_is_built_from_the_request_and_signed(image: Path) -> None:
    async with running(answers(200, b"x"), routes=image) as gateway:
        reply = await gateway.send(raw_call('{"start": 1, "list": ["é", 1.50]}', "Accept-Language: ko-KR"))

    [raw] = gateway.upstream.received
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /new/cellar?q=a%26b HTTP/1.1\r\n")
    assert body == '{"from":1,"list":["é",1.5]}'.encode()
    lines = head.decode().lower().split("\r\n")
    assert {"x-version: v2", "accept-language: ko-kr", "authorization: oauth new"} <= set(lines)
    assert f"x-request-id: {reply.header('x-request-id')}" in lines


# The answer.


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_bytes_are_unchanged(image: Path, version: str) -> None:
    async with running(answers(200, PNG, (("Content-Type", "image/png"),)), routes=image) as gateway:
        reply = await gateway.send(raw_call(version=version))

    assert reply.body == PNG
    assert reply.header("content-type") == "image/png"
    assert reply.header("transfer-encoding") is None


async def test_a_body_of_unknown_length_is_chunked(image: Path) -> None:
    async with running(chunked(PNG[:1000], PNG[1000:]), routes=image) as gateway, gateway.call() as caller:
        caller.send(raw_call())
        head = await caller.head()
        body = await unchunked(caller)

    assert "\r\nTransfer-Encoding: chunked\r\n" in head
    assert "Content-Length" not in head
    assert body == PNG


@pytest.mark.parametrize("more", [(), ("Connection: keep-alive",)], ids=["", "keep-alive"])
async def test_a_body_of_unknown_length_closes_an_http_1_0_connection(image: Path, more: tuple[str]) -> None:
    async with running(chunked(PNG), routes=image) as gateway, gateway.call() as caller:
        caller.send(raw_call('{"start": 1}', *more, version="1.0"))
        head = await caller.head()
        body = await caller.rest()

    assert head.startswith("HTTP/1.0 200 OK\r\n")
    assert "\r\nConnection: close\r\n" in head
    assert "Transfer-Encoding" not in head
    assert body == PNG


async def test_compressed_bytes_stay_compressed(image: Path) -> None:
    squeezed = gzip.compress(b"hello" * 1000)
    async with running(answers(200, squeezed, (("Content-Encoding", "gzip"),)), routes=image) as gateway:
        reply = await gateway.send(raw_call())

    assert (reply.body, reply.header("content-encoding")) == (squeezed, "gzip")


async def test_all_but_hop_by_hop_headers_are_passed_on(image: Path) -> None:
    theirs = (
        ("Date", "Tue, 14 Nov 2023 22:13:20 GMT"),
        ("Server", "B"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("Connection", "X-Hop, keep-alive"),
        ("X-Hop", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("Trailer", "X-T"),
        ("Upgrade", "h2c"),
        ("X-Request-Id", "theirs"),
    )
    async with running(answers(200, b"", theirs), routes=image) as gateway:
        reply = await gateway.send(raw_call())

    names = [name for name, _ in reply.headers]
    assert names == ["date", "server", "set-cookie", "set-cookie", "content-length", "x-request-id"]
    assert reply.header("date") == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert reply.header("x-request-id") != "theirs"


@pytest.mark.parametrize("status", [201, 302, 400, 401, 403, 404, 429, 500, 503])
async def test_every_status_is_passed_on(image: Path, status: int) -> None:
    async with running(answers(status, b'{"theirs": 1}'), routes=image) as gateway:
        reply = await gateway.send(raw_call())

    assert (reply.status, reply.body) == (status, b'{"theirs": 1}')


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_a_body_keeps_the_connection(image: Path, status: int) -> None:
    behaviour = in_turn(answers(status), answers(200, b"next"))
    async with running(behaviour, routes=image) as gateway, gateway.call() as caller:
        caller.send(raw_call())
        head = await caller.head()
        caller.send(raw_call())
        after = await caller.parsed()

    assert f" {status} " in head
    assert "Content-Length" not in head
    assert "Transfer-Encoding" not in head
    assert (after.status, after.body) == (200, b"next")


async def test_the_answer_to_head_has_no_body_and_keeps_the_connection(tmp_path: Path) -> None:
    (tmp_path / "look.yaml").write_text(LOOK)
    behaviour = writes(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nContent-Type: image/png\r\n\r\n")
    call = raw_call("").replace(b"POST", b"HEAD")
    async with running(behaviour, routes=tmp_path) as gateway, gateway.call() as caller:
        caller.send(call)
        first = await caller.head()
        caller.send(call)
        second = await caller.head()

    assert first.startswith("HTTP/1.1 200 OK\r\n")
    assert "\r\nContent-Length: 1000\r\n" in first
    assert second.startswith("HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("behaviour", [answers(200, PNG), chunked(PNG)], ids=["length", "chunks"])
async def test_the_connection_serves_further_calls(image: Path, behaviour: Behaviour) -> None:
    async with running(behaviour, routes=image) as gateway, gateway.call() as caller:
        for _ in range(3):
            caller.send(raw_call())
            head = await caller.head()
            if "chunked" in head:
                assert await unchunked(caller) == PNG
            else:
                assert await caller.reader.readexactly(len(PNG)) == PNG
        caller.send(raw_call("{}"))
        rejected = await caller.parsed()

    assert "Connection: close" not in head
    assert rejected.status == 422
    assert gateway.upstream.connections == 1


async def test_pipelined_calls_are_answered_in_order(image: Path) -> None:
    behaviour = in_turn(answers(200, b"first"), answers(200, b"second"))
    async with running(behaviour, routes=image) as gateway, gateway.call() as caller:
        caller.send(raw_call() + raw_call())
        replies = [await caller.parsed(), await caller.parsed()]

    assert [reply.body for reply in replies] == [b"first", b"second"]


async def test_arrived_bytes_are_passed_on_immediately(image: Path) -> None:
    go_on = asyncio.Event()

    async def slow(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        await go_on.wait()
        writer.write(b"-last")

    async with running(slow, routes=image) as gateway, gateway.call() as caller:
        caller.send(raw_call())
        await caller.head()
        first = await caller.reader.readexactly(5)
        go_on.set()
        last = await caller.reader.readexactly(5)

    assert first + last == b"first-last"


async def test_the_deadline_does_not_cover_the_whole_answer(image: Path) -> None:
    async def drips(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
        for _ in range(6):
            await asyncio.sleep(0.1)
            writer.write(b".")

    async with running(drips, routes=image, change=with_deadline(0.3)) as gateway:
        reply = await gateway.send(raw_call())

    assert reply.body == b"......"


# Slow and broken connections.


async def test_the_answer_is_read_no_faster_than_the_caller_reads(image: Path) -> None:
    """Of 50 MiB, gateway and sockets hold a small part for a caller who does not read."""
    written = 0

    async def gushes(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.transport.set_write_buffer_limits(high=0)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (50 * 2**20))
        for _ in range(800):
            writer.write(PNG[:65536])
            await writer.drain()
            written += 65536

    async def stands_still() -> int:
        before = -1
        while before != written:
            before = written
            await asyncio.sleep(0.3)
        return written

    async with running(gushes, routes=image) as gateway, gateway.call() as caller:
        caller.send(raw_call())
        await caller.head()
        taken = await stands_still()
        async with asyncio.timeout(30):
            rest = 50 * 2**20
            while rest:
                rest -= len(await caller.reader.read(2**20))

    assert 0 < taken < 25 * 2**20
    assert written == 50 * 2**20


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize(
    "behaviour",
    [half_answers, chunked(b"0123456789", end=b"")],
    ids=["of a length", "in chunks"],
)
async def test_the_caller_detects_an_incomplete_answer(image: Path, behaviour: Behaviour, version: str) -> None:
    async def breaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await behaviour(reader, writer)
        await asyncio.sleep(0.05)
        writer.close()

    async with logs_of(breaks, routes=image) as (gateway, logs), gateway.call() as caller:
        caller.send(raw_call(version=version))
        seen = await breaks_off(caller)
        entry = await logged(logs)

    assert b" 200 OK\r\n" in seen
    assert not seen.endswith(b"\r\n0\r\n\r\n")
    assert (entry["code"], entry["reason"]) == ("INTERNAL", "UPSTREAM_GARBLED")
    assert entry["message"].endswith(": the answer broke off")


async def test_a_silent_upstream_times_out(image: Path) -> None:
    async def stops(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789")
        await reader.read()

    async with logs_of(stops, routes=image, change=with_deadline(0.2)) as (gateway, logs), gateway.call() as caller:
        caller.send(raw_call())
        await breaks_off(caller)
        entry = await logged(logs)

    assert entry["reason"] == "UPSTREAM_TIMEOUT"
    assert entry["message"].endswith(": no more of the answer within 0.2 s")


@pytest.mark.parametrize("goes", ["resets", "closes"])
async def test_a_caller_that_disconnects_ends_the_exchange(image: Path, goes: str) -> None:
    ended = asyncio.Event()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while not writer.is_closing():
                writer.write(b"5\r\nhello\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    async with logs_of(endless, routes=image) as (gateway, logs):
        async with gateway.call() as caller:
            caller.send(raw_call())
            await caller.head()
            if goes == "resets":
                await resets(caller.reader, caller.writer)
        async with asyncio.timeout(LONG_S):
            await ended.wait()
        entry = await logged(logs)
        left = await gateway.counted("gateway_reports_in_flight", route="image")

    assert (entry["code"], entry["message"]) == ("OK", "the caller disconnected before the end of the answer")
    assert left == 0


async def test_a_caller_that_disconnects_ends_a_silent_exchange(image: Path) -> None:
    ended = asyncio.Event()

    async def falls_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789")
        await reader.read()
        ended.set()

    async with running(falls_silent, routes=image, change=with_deadline(60)) as gateway:
        async with gateway.call() as caller:
            caller.send(raw_call())
            await caller.head()
            await resets(caller.reader, caller.writer)
        async with asyncio.timeout(LONG_S):
            await ended.wait()


async def test_a_stream_is_completed_at_shutdown(image: Path) -> None:
    go_on = asyncio.Event()

    async def slow(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        await go_on.wait()
        writer.write(b"-last")

    async with running(slow, routes=image, grace_s=10.0) as gateway, gateway.call() as caller:
        caller.send(raw_call())
        await caller.head()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(gateway.gateway.stop())
            await asyncio.sleep(0.2)
            go_on.set()
            body = await caller.rest()

    assert body == b"first-last"


# Over TLS.


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_bytes_are_unchanged_over_tls(image: Path, authority: Authority, version: str) -> None:
    pair = Pair(*authority.issue("a"))
    async with running(answers(200, PNG), routes=image, tls=pair) as gateway:
        reply = await exchange(gateway.gateway.address, raw_call(version=version), authority.trust())

    assert reply.body == PNG


async def test_the_caller_detects_an_incomplete_answer_over_tls(image: Path, authority: Authority) -> None:
    pair = Pair(*authority.issue("a"))
    async with (
        running(half_answers, routes=image, tls=pair) as gateway,
        call(gateway.gateway.address, authority.trust()) as caller,
    ):
        caller.send(raw_call(version="1.0"))
        await breaks_off(caller)


# The gateway's own rejections.


@pytest.mark.parametrize(
    ("raw", "status", "reason"),
    [
        (raw_call("{}"), 422, "MISSING_FIELD"),
        (raw_call("{"), 422, "NOT_PARSED"),
        (raw_call(session="other"), 555, "UNKNOWN_KEY"),
        (raw_call().replace(b"POST", b"PUT"), 555, "WRONG_METHOD"),
    ],
    ids=["field missing", "not JSON", "unknown key", "wrong method"],
)
async def test_the_gateways_rejection_is_in_dialect(image: Path, raw: bytes, status: int, reason: str) -> None:
    async with running(answers(200, b"x"), routes=image) as gateway:
        reply = await gateway.send(raw)

    assert (reply.status, reply.json) == (status, {"ours": reason})
    assert gateway.upstream.received == []


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (nothing, "UPSTREAM_DOWN"),
        (garbage, "UPSTREAM_GARBLED"),
        (hangs, "UPSTREAM_TIMEOUT"),
        (writes(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), "UPSTREAM_GARBLED"),
    ],
    ids=["closes", "no HTTP", "hangs", "switches protocols"],
)
async def test_without_an_answer_the_reply_is_in_dialect(image: Path, behaviour: Behaviour, reason: str) -> None:
    async with running(behaviour, routes=image, change=with_deadline(0.3)) as gateway, gateway.call() as caller:
        caller.send(raw_call())
        reply = await caller.parsed()
        caller.send(raw_call("{}"))
        after = await caller.parsed()

    assert (reply.status, reply.json) == (555, {"ours": reason})
    assert after.status == 422


async def test_an_unreachable_upstream_is_down(image: Path) -> None:
    environ = {"UPSTREAM": f"http://127.0.0.1:{free_port()}"}
    async with running(routes=image, environ=environ) as gateway:
        reply = await gateway.send(raw_call())

    assert (reply.status, reply.json) == (555, {"ours": "UPSTREAM_DOWN"})


# Metrics.


@pytest.mark.parametrize(
    ("status", "labels"),
    [
        (200, {"code": "OK", "reason": ""}),
        (404, {"code": "NOT_FOUND", "reason": "UPSTREAM_REJECTED"}),
        (503, {"code": "UNAVAILABLE", "reason": "UPSTREAM_DOWN"}),
    ],
)
async def test_calls_are_counted_by_the_status_of_the_answer(image: Path, status: int, labels: dict[str, str]) -> None:
    async with running(answers(status, b"x"), routes=image) as gateway:
        await gateway.send(raw_call())
        counted = await gateway.counted("gateway_reports_total", route="image", **labels)
        timed = await gateway.counted("gateway_upstream_seconds_count", route="image", code=labels["code"])

    assert (counted, timed) == (1, 1)
