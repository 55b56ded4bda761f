"""Answers of faulty and malicious upstreams, over real sockets."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Sequence

import pytest

from gateway.core.http.request import Request
from gateway.core.outcome.errors import UpstreamError
from gateway.core.outcome.outcome import Reason
from gateway.delivery.client import Client, Timeouts
from tests.support.upstream import Behaviour, Upstream, answers, in_turn, writes

LONG = Timeouts(connect_s=5, total_s=10, more_s=5)
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
BY_LENGTH = OK + b"Content-Length: 5\r\n\r\nhello"
BY_CHUNKS = CHUNKED + b"2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\nTrailer: x\r\n\r\n"
AFTER_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + BY_LENGTH


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    client = Client()
    yield client
    await client.close()


def post(upstream: Upstream, method: str = "POST") -> Request:
    return Request(method, "/in", (("Host", upstream.host),), b"body" if method == "POST" else b"")


def ends_after(raw: bytes) -> Behaviour:
    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        writer.close()

    return behave


def repeats(start: bytes, rest: bytes) -> Behaviour:
    """Write the start, then the rest until the client closes the connection."""

    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while not writer.is_closing():
            writer.write(rest)
            await writer.drain()

    return behave


async def failure_of(client: Client, behaviour: Behaviour) -> tuple[Reason | None, str]:
    async with Upstream(behaviour) as upstream:
        with pytest.raises(UpstreamError) as caught:
            await client.send(post(upstream), timeouts=LONG)
    assert upstream.connections == 1
    return caught.value.outcome.reason, caught.value.outcome.message.partition(": ")[2]


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        pytest.param(writes(OK + b"X: 1\r\n" * 1025 + b"\r\n"), "the answer has over 1024 headers", id="many headers"),
        pytest.param(repeats(OK + b"X: ", b"x" * 5000), "the answer is not HTTP", id="endless header"),
        pytest.param(repeats(OK, b"X: 1\r\n" * 100), "the answer has over 1024 headers", id="endless headers"),
        pytest.param(repeats(b"HTTP/1.1 200 ", b"OK" * 500), "the answer is not HTTP", id="endless status line"),
        pytest.param(repeats(CHUNKED + b"5;", b"x" * 5000), "the answer is not HTTP", id="endless chunk extension"),
        pytest.param(repeats(CHUNKED + b"0\r\n", b"X: 1\r\n" * 1000), "the answer is not HTTP", id="endless trailers"),
        pytest.param(repeats(CHUNKED, b"1\r\nx\r\n" * 1000), "the answer is over 1048576 bytes", id="endless chunks"),
        pytest.param(repeats(OK + b"\r\n", b"x" * 5000), "the answer is over 1048576 bytes", id="endless body"),
        pytest.param(writes(CHUNKED + b"g\r\nhello"), "the answer is not HTTP", id="chunk size that is no number"),
        pytest.param(writes(CHUNKED + b"f" * 17 + b"\r\n"), "the answer is not HTTP", id="chunk size over 64 bits"),
        pytest.param(writes(OK + b"Content-Length: -5\r\n\r\n"), "the answer is not HTTP", id="negative length"),
        pytest.param(
            writes(OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), "the answer is not HTTP", id="two lengths"
        ),
        pytest.param(writes(b"\x16\x03\x01\x00\x05hello"), "the answer is not HTTP", id="TLS"),
        pytest.param(writes(b"HTTP/3.0 200 OK\r\n\r\n"), "the answer is not HTTP", id="another version"),
        pytest.param(
            writes(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
            "switched to another protocol unasked",
            id="another protocol",
        ),
    ],
)
async def test_invalid_answer_is_garbled(client: Client, behaviour: Behaviour, message: str) -> None:
    reason, found = await failure_of(client, behaviour)

    assert reason is Reason.UPSTREAM_GARBLED
    assert found.startswith(message)


async def test_greeting_before_the_request_is_garbled(client: Client) -> None:
    async def greets(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await asyncio.sleep(0.5)

    async with Upstream(greets, at_once=True) as upstream:
        with pytest.raises(UpstreamError, match="the answer is not HTTP"):
            await client.send(post(upstream), timeouts=LONG)


@pytest.mark.parametrize("raw", [BY_LENGTH, BY_CHUNKS, AFTER_HINTS], ids=["length", "chunks", "after 103"])
async def test_answer_that_ends_at_any_byte_is_an_error(client: Client, raw: bytes) -> None:
    reasons = [(await failure_of(client, ends_after(raw[:size])))[0] for size in range(len(raw))]

    without_any = [0, raw.find(BY_LENGTH)]  # the second: after the informational answer
    assert [size for size, reason in enumerate(reasons) if reason is Reason.UPSTREAM_DOWN] == sorted(
        {*without_any} - {-1}
    )
    assert set(reasons) == {Reason.UPSTREAM_DOWN, Reason.UPSTREAM_GARBLED}


@pytest.mark.parametrize("raw", [BY_LENGTH, BY_CHUNKS, AFTER_HINTS], ids=["length", "chunks", "after 103"])
async def test_answer_is_read_byte_by_byte(client: Client, raw: bytes) -> None:
    async def dribbles(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for at in range(len(raw)):
            writer.write(raw[at : at + 1])
            await asyncio.sleep(0.0005)

    async with Upstream(dribbles) as upstream:
        answers = [await client.send(post(upstream), timeouts=LONG) for _ in range(2)]

    assert [answer.body for answer in answers] == [b"hello"] * 2
    assert upstream.connections == 1


async def test_upstream_that_closes_after_any_byte_of_the_request_gets_it_once(client: Client) -> None:
    size = len("POST /in HTTP/1.1\r\nHost: 127.0.0.1:12345\r\nContent-Length: 4\r\n\r\nbody")
    reasons = []
    for count in range(1, size + 1):

        async def closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: int = count) -> None:
            await reader.readexactly(count)
            writer.close()

        async with Upstream(closes, at_once=True) as upstream:
            with pytest.raises(UpstreamError) as caught:
                await client.send(post(upstream), timeouts=LONG)
        reasons.append((caught.value.outcome.reason, upstream.connections))

    assert set(reasons) == {(Reason.UPSTREAM_DOWN, 1)}


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        pytest.param(b"HTTP/1.1 200 ", b"O", id="status line"),
        pytest.param(OK + b"X: ", b"x", id="header"),
        pytest.param(OK + b"Content-Length: 999\r\n\r\n", b"x", id="body"),
        pytest.param(CHUNKED, b"0", id="chunk size"),
        pytest.param(b"", b"HTTP/1.1 102 Processing\r\n\r\n", id="informational answers"),
    ],
)
async def test_slow_drip_is_a_timeout(client: Client, start: bytes, drop: bytes) -> None:
    drops = 0

    async def drips(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal drops
        writer.write(start)
        while not writer.is_closing():
            writer.write(drop)
            drops += 1
            await asyncio.sleep(0.05)

    async with Upstream(in_turn(answers(), drips)) as upstream:
        await client.send(post(upstream), timeouts=LONG)  # which connects
        with pytest.raises(UpstreamError, match=r"no answer within 0\.3 s") as caught:
            await client.send(post(upstream), timeouts=Timeouts(total_s=0.3))

    assert caught.value.outcome.reason is Reason.UPSTREAM_TIMEOUT
    assert upstream.connections == 1
    assert drops <= 0.3 / 0.05 + 2


@pytest.mark.parametrize("surplus", [BY_LENGTH, b"garbage", b"\r\n\0"], ids=["answer", "garbage", "zero"])
async def test_bytes_after_an_answer_are_not_read_as_the_next(client: Client, surplus: bytes) -> None:
    right = OK + b"Content-Length: 5\r\n\r\nright"
    async with Upstream(in_turn(writes(right + surplus), writes(right))) as upstream:
        bodies = [(await client.send(post(upstream), timeouts=LONG)).body for _ in range(2)]

    assert (bodies, upstream.connections) == ([b"right"] * 2, 2)


async def test_answer_to_head_may_declare_a_body(client: Client) -> None:
    async with Upstream(writes(OK + b"Content-Length: 5\r\n\r\n")) as upstream:
        answers = [await client.send(post(upstream, "HEAD"), timeouts=LONG) for _ in range(2)]

    assert [(answer.status, answer.body) for answer in answers] == [(200, b"")] * 2


async def test_idle_connection_is_closed() -> None:
    closed = asyncio.Event()

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answers()(reader, writer)
        await reader.read()
        closed.set()

    client = Client(max_idle_s=0.05)
    async with Upstream(behave) as upstream:
        await client.send(post(upstream), timeouts=LONG)
        async with asyncio.timeout(2):
            await closed.wait()
    await client.close()


async def read_all(client: Client, upstream: Upstream, timeouts: Timeouts = LONG) -> Sequence[bytes]:
    parts = []
    async with client.stream(post(upstream), timeouts=timeouts) as answer:
        while part := await answer.read():
            parts.append(part)
    return parts


async def test_streamed_answer_that_is_not_read_stops_the_upstream(client: Client) -> None:
    sent = 0

    async def floods(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(OK + b"\r\n")
        for _ in range(1000):
            writer.write(bytes(100_000))
            await writer.drain()
            sent += 100_000

    async with Upstream(floods) as upstream, client.stream(post(upstream), timeouts=LONG) as answer:
        tracemalloc.start()
        await asyncio.sleep(0.3)
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        size = len(await answer.read())

    assert held < 2_000_000
    assert size < 1_000_000
    assert sent < 20_000_000  # in the buffers of the sockets


async def test_streamed_answer_that_is_not_read_is_not_part_of_the_next(client: Client) -> None:
    async with Upstream(in_turn(answers(200, b"left"), answers(200, b"right"))) as upstream:
        async with client.stream(post(upstream), timeouts=LONG):
            pass
        answer = await client.send(post(upstream), timeouts=LONG)

    assert answer.body == b"right"


async def test_streamed_answer_of_any_size_is_passed_on(client: Client) -> None:
    async with Upstream(writes(OK + b"Content-Length: 20000000\r\n\r\n" + bytes(20_000_000))) as upstream:
        assert sum(map(len, await read_all(client, upstream))) == 20_000_000


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        pytest.param(ends_after(CHUNKED + b"5\r\nhe"), "the answer broke off", id="ends"),
        pytest.param(writes(CHUNKED + b"2\r\nhe\r\nx"), "the answer is not HTTP", id="invalid chunk"),
        pytest.param(writes(CHUNKED + b"5\r\nhe"), "no more of the answer within 0.2 s", id="hangs"),
    ],
)
async def test_streamed_answer_that_breaks_is_an_error_after_its_data(
    client: Client, behaviour: Behaviour, message: str
) -> None:
    timeouts = Timeouts(connect_s=5, total_s=10, more_s=0.2)
    async with Upstream(behaviour) as upstream, client.stream(post(upstream), timeouts=timeouts) as answer:
        assert await answer.read() == b"he"
        with pytest.raises(UpstreamError, match=message):
            await answer.read()
