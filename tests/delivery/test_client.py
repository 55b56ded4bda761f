"""The client over real sockets. Timeouts are small, so that no test waits for a default."""

import asyncio
import gzip
import socket
import time
import traceback
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from gateway.core.http.request import Request, Response
from gateway.core.outcome.errors import GatewayError, SpecError, UpstreamError
from gateway.core.outcome.outcome import Reason
from gateway.delivery.client import Client, Timeouts
from tests.support.upstream import (
    Behaviour,
    Upstream,
    answers,
    drips,
    free_port,
    garbage,
    giant,
    half_answers,
    hangs,
    in_turn,
    nothing,
    resets,
    writes,
)

SHORT = Timeouts(connect_s=0.2, total_s=0.3)
LONG = Timeouts(connect_s=5, total_s=10)
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
TRICKY_TARGET = "/a%2Fb/%7Ex//c/../d?x=%2A*&s=a+b%20c"


@asynccontextmanager
async def open_client(**settings: float) -> AsyncIterator[Client]:
    client = Client(**settings)
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with open_client() as client:
        yield client


def request_to(
    host: str,
    target: str = "/",
    *,
    method: str = "POST",
    headers: tuple[tuple[str, str], ...] = (),
    body: bytes = b"",
) -> Request:
    return Request(method, target, (("Host", host), *headers), body)


@contextmanager
def raises(reason: Reason, what: str) -> Iterator[None]:
    with pytest.raises(UpstreamError) as caught:
        yield
    assert caught.value.outcome.reason == reason
    assert what in caught.value.outcome.message
    assert caught.value.outcome.message.startswith("127.0.0.1:")


# The bytes on the wire


async def test_request_goes_out_byte_for_byte(client: Client) -> None:
    headers = (
        ("x-First", "1"),
        ("Host", ""),
        ("CONTENT-type", "application/json"),
        ("X-Twice", "a"),
        ("User-agent", "their own"),
        ("X-Twice", "b"),
        ("X-Name", "指标 é"),
    )
    async with Upstream(answers()) as upstream:
        headers = tuple((name, value or upstream.host) for name, value in headers)

        await client.send(Request("POST", TRICKY_TARGET, headers, b'{"a": 1}'), timeouts=LONG)

    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    wire = f'POST {TRICKY_TARGET} HTTP/1.1\r\n{head}Content-Length: 8\r\n\r\n{{"a": 1}}'
    assert upstream.received == [wire.encode()]


@pytest.mark.parametrize(
    ("target", "sent"),
    [
        pytest.param(TRICKY_TARGET, TRICKY_TARGET, id="escapes, dots, doubled slashes"),
        pytest.param("//x", "//x", id="leading double slash"),
        pytest.param("/a?", "/a?", id="bare question mark"),
        pytest.param("/a#b?c", "/a#b?c", id="number sign"),
        pytest.param("/a:b@c", "/a:b@c", id="colon and at sign"),
        pytest.param("/é", "/é", id="not ASCII"),
        pytest.param("/a?b=http://x/?y", "/a?b=http://x/?y", id="a URL in the query"),
        pytest.param("", "/", id="empty path"),
        pytest.param("?a=1", "/?a=1", id="empty path with a query"),
    ],
)
async def test_request_target_is_sent_unchanged(client: Client, target: str, sent: str) -> None:
    async with Upstream(answers()) as upstream:
        await client.send(request_to(upstream.host, target), timeouts=LONG)

    assert upstream.received[0].split(b" HTTP/1.1")[0] == f"POST {sent}".encode()


async def test_get_without_body_sends_no_body_headers(client: Client) -> None:
    async with Upstream(answers()) as upstream:
        await client.send(request_to(upstream.host, method="GET"), timeouts=LONG)

    assert upstream.received == [f"GET / HTTP/1.1\r\nHost: {upstream.host}\r\n\r\n".encode()]


async def test_post_without_body_sends_length_zero(client: Client) -> None:
    async with Upstream(answers()) as upstream:
        await client.send(request_to(upstream.host), timeouts=LONG)

    wire = f"POST / HTTP/1.1\r\nHost: {upstream.host}\r\nContent-Length: 0\r\n\r\n"
    assert upstream.received == [wire.encode()]


async def test_given_content_length_is_not_doubled(client: Client) -> None:
    async with Upstream(answers()) as upstream:
        request = request_to(upstream.host, headers=(("content-length", "2"), ("X-Last", "1")), body=b"ab")

        await client.send(request, timeouts=LONG)

    wire = f"POST / HTTP/1.1\r\nHost: {upstream.host}\r\ncontent-length: 2\r\nX-Last: 1\r\n\r\nab"
    assert upstream.received == [wire.encode()]


async def test_body_over_1_mib_goes_out_whole(client: Client) -> None:
    body = bytes(range(256)) * 20_000
    async with Upstream(answers()) as upstream:
        await client.send(request_to(upstream.host, body=body), timeouts=LONG)

    assert upstream.received[0].endswith(b"\r\n\r\n" + body)


async def test_cookies_are_not_kept(client: Client) -> None:
    async with Upstream(answers(headers=(("Set-Cookie", "session=1; Path=/"),))) as upstream:
        request = Request("GET", "/", (("Host", upstream.host.replace("127.0.0.1", "localhost")),))
        await client.send(request, timeouts=LONG)
        await client.send(request, timeouts=LONG)

    assert upstream.received[0] == upstream.received[1]


async def test_proxy_variables_are_ignored(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    async with Upstream(answers()) as upstream:
        await client.send(request_to(upstream.host), timeouts=LONG)

    assert len(upstream.received) == 1


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({"headers": (("X-A", "secret\r\nX-B: 1"),)}, id="line break in a header"),
        pytest.param({"target": "/\r\nsecret"}, id="line break in the target"),
        pytest.param({"method": "secret POST"}, id="blank in the method"),
        pytest.param({"headers": (("X-A", "secret\udcff"),)}, id="header bytes that are not UTF-8"),
        pytest.param({"target": "/secret\udcff"}, id="target bytes that are not UTF-8"),
        pytest.param({"host": ""}, id="no host"),
        pytest.param({"host": "127.0.0.1:99999"}, id="no such port"),
        pytest.param({"host": "x" * 64 + ".example"}, id="no such name"),
    ],
)
async def test_request_that_is_not_valid_http_is_a_spec_error(client: Client, broken: dict[str, str]) -> None:
    async with Upstream(answers()) as upstream:
        with pytest.raises(SpecError) as caught:
            await client.send(request_to(**{"host": upstream.host} | broken), timeouts=LONG)

    assert caught.value.outcome.reason == Reason.INTERNAL
    assert "secret" not in str(caught.value)
    assert upstream.received == []


# The answer


async def test_whole_answer_is_returned(client: Client) -> None:
    headers = (("X-requestid", "7"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Name", "é"))
    async with Upstream(answers(200, b'{"ok": true}', headers)) as upstream:
        answer = await client.send(request_to(upstream.host), timeouts=LONG)

    assert answer == Response(200, (*headers, ("Content-Length", "12")), b'{"ok": true}')


async def test_header_bytes_that_are_not_utf8_are_kept(client: Client) -> None:
    async with Upstream(writes(b"HTTP/1.1 200 OK\r\nX: \xff\r\nContent-Length: 0\r\n\r\n")) as upstream:
        answer = await client.send(request_to(upstream.host), timeouts=LONG)

    assert answer.headers[0] == ("X", "\udcff")


@pytest.mark.parametrize("status", [200, 204, 304, 400, 401, 404, 429, 500, 503])
async def test_any_status_is_an_answer(client: Client, status: int) -> None:
    async with Upstream(answers(status)) as upstream:
        answer = await client.send(request_to(upstream.host), timeouts=LONG)

    assert (answer.status, answer.body) == (status, b"")


async def test_redirects_are_not_followed(client: Client) -> None:
    async with Upstream(answers(302, headers=(("Location", "/elsewhere"),))) as upstream:
        answer = await client.send(request_to(upstream.host, method="GET"), timeouts=LONG)

    assert (answer.status, len(upstream.received)) == (302, 1)


async def test_html_answer_is_returned_unchanged(client: Client) -> None:
    page = b"<html>Bad Gateway</html>"
    async with Upstream(answers(502, page, (("Content-Type", "text/html"),))) as upstream:
        answer = await client.send(request_to(upstream.host), timeouts=LONG)

    assert (answer.status, answer.body) == (502, page)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
            id="chunked",
        ),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", id="after 100"),
        pytest.param(16 * EARLY_HINTS + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", id="after 16 of 103"),
        pytest.param(b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", id="no reason phrase"),
        pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", id="line feeds alone"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
            id="blank after a chunk size",
        ),
    ],
)
async def test_body_is_read_in_every_framing(client: Client, raw: bytes) -> None:
    async with Upstream(writes(raw)) as upstream:
        answer = await client.send(request_to(upstream.host), timeouts=LONG)

    assert (answer.status, answer.body) == (200, b"hello")


async def test_body_that_ends_with_the_connection_is_whole(client: Client) -> None:
    async def ends(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
        writer.close()

    async with Upstream(ends) as upstream:
        answer = await client.send(request_to(upstream.host), timeouts=LONG)

    assert answer.body == b"hello"


async def test_answer_before_the_end_of_the_request_is_used(client: Client) -> None:
    async def reads_the_head_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await answers(413, b"too large")(reader, writer)

    async with Upstream(reads_the_head_only, at_once=True) as upstream:
        request = request_to(upstream.host, body=bytes(30_000_000))
        answer = await client.send(request, timeouts=LONG)
        again = await client.send(request, timeouts=LONG)

    assert (answer.status, answer.body) == (413, b"too large")
    assert (again.status, upstream.connections) == (413, 2)


# Compression and size


def deflated_bare(body: bytes) -> bytes:
    squeezer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return squeezer.compress(body) + squeezer.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        pytest.param("gzip", gzip.compress(b"hello"), id="gzip"),
        pytest.param("X-GZIP", gzip.compress(b"hello"), id="x-gzip"),
        pytest.param("deflate", zlib.compress(b"hello"), id="deflate"),
        pytest.param("deflate", deflated_bare(b"hello"), id="deflate without zlib header"),
        pytest.param("identity", b"hello", id="identity"),
        pytest.param("utf-8", b"hello", id="no compression at all"),
    ],
)
async def test_body_is_inflated(client: Client, encoding: str, body: bytes) -> None:
    async with Upstream(answers(200, body, (("Content-Encoding", encoding),))) as upstream:
        answer = await client.send(request_to(upstream.host), timeouts=LONG)

    assert answer.body == b"hello"


async def test_headers_of_an_inflated_body_do_not_claim_compression(client: Client) -> None:
    behaviour = answers(200, gzip.compress(b"hello"), (("Content-Encoding", "gzip"), ("X-A", "1")))
    async with Upstream(behaviour) as upstream:
        answer = await client.send(request_to(upstream.host), timeouts=LONG)

    assert answer.headers == (("X-A", "1"),)


async def test_empty_body_needs_no_inflating(client: Client) -> None:
    async with Upstream(answers(200, b"", (("Content-Encoding", "gzip"),))) as upstream:
        answer = await client.send(request_to(upstream.host), timeouts=LONG)

    assert answer.body == b""


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        pytest.param("gzip", gzip.compress(b"hello")[:-6], id="gzip broken off"),
        pytest.param("gzip", b"hello", id="not gzip"),
        pytest.param("gzip", gzip.compress(b"hello") + b"more", id="bytes after gzip"),
        pytest.param("gzip", gzip.compress(b"hello")[:-8] + bytes(8), id="wrong checksum"),
        pytest.param("deflate", zlib.compress(b"hello")[:-2], id="deflate broken off"),
        pytest.param("deflate", b"\xff\xff\xff\xff", id="not deflate"),
    ],
)
async def test_damaged_compressed_body_is_garbled(client: Client, encoding: str, body: bytes) -> None:
    async with Upstream(answers(200, body, (("Content-Encoding", encoding),))) as upstream:
        with raises(Reason.UPSTREAM_GARBLED, "compressed data is damaged"):
            await client.send(request_to(upstream.host), timeouts=LONG)


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_answer_of_the_maximum_size_is_accepted(encoding: str) -> None:
    body = gzip.compress(bytes(1000)) if encoding == "gzip" else bytes(1000)
    behaviour = answers(200, body, (("Content-Encoding", encoding),))
    async with open_client(max_reply_bytes=1000) as client, Upstream(behaviour) as upstream:
        answer = await client.send(request_to(upstream.host), timeouts=LONG)

    assert answer.body == bytes(1000)


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_answer_one_byte_too_large_is_garbled(encoding: str) -> None:
    body = gzip.compress(bytes(1001)) if encoding == "gzip" else bytes(1001)
    behaviour = answers(200, body, (("Content-Encoding", encoding),))
    async with open_client(max_reply_bytes=1000) as client, Upstream(behaviour) as upstream:
        with raises(Reason.UPSTREAM_GARBLED, "the answer is over 1000 bytes"):
            await client.send(request_to(upstream.host), timeouts=LONG)


@contextmanager
def memory_stays_under(most_bytes: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most_bytes
    finally:
        tracemalloc.stop()


async def test_giant_answer_is_garbled_in_little_memory(client: Client) -> None:
    async with Upstream(giant) as upstream:
        with memory_stays_under(8_000_000), raises(Reason.UPSTREAM_GARBLED, "over 1048576 bytes"):
            await client.send(request_to(upstream.host), timeouts=LONG)


async def test_gzip_bomb_is_garbled_in_little_memory(client: Client) -> None:
    bomb = gzip.compress(bytes(100_000_000))
    async with Upstream(answers(200, bomb, (("Content-Encoding", "gzip"),))) as upstream:
        with memory_stays_under(8_000_000), raises(Reason.UPSTREAM_GARBLED, "over 1048576 bytes"):
            await client.send(request_to(upstream.host), timeouts=LONG)


def without_end(raw: bytes, ended: asyncio.Event) -> Behaviour:
    """Write these bytes until the client hangs up, and note that it has."""

    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(raw * 1000)
                await writer.drain()
        except OSError:
            ended.set()

    return behave


async def test_17_informational_answers_are_garbled(client: Client) -> None:
    behaviour = writes(17 * EARLY_HINTS + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with Upstream(behaviour) as upstream:
        with raises(Reason.UPSTREAM_GARBLED, "more than 16 informational (1xx) answers"):
            await client.send(request_to(upstream.host), timeouts=LONG)


async def test_each_request_may_have_16_informational_answers(client: Client) -> None:
    behaviour = writes(16 * EARLY_HINTS + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with Upstream(behaviour) as upstream:
        answers = [await client.send(request_to(upstream.host), timeouts=LONG) for _ in range(3)]

    assert ([answer.status for answer in answers], upstream.connections) == ([200] * 3, 1)


async def test_endless_informational_answers_are_garbled_in_little_memory(client: Client) -> None:
    ended = asyncio.Event()

    async with Upstream(without_end(EARLY_HINTS, ended)) as upstream:
        with memory_stays_under(40_000_000), raises(Reason.UPSTREAM_GARBLED, "informational"):
            async with asyncio.timeout(2):
                await client.send(request_to(upstream.host), timeouts=LONG)
        async with asyncio.timeout(2):
            await ended.wait()


async def test_endless_answers_on_an_idle_connection_end_it(client: Client) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    ended = asyncio.Event()

    async def goes_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await writes(answer)(reader, writer)
        await asyncio.sleep(0.05)
        await without_end(answer, ended)(reader, writer)

    async with Upstream(goes_on) as upstream:
        await client.send(request_to(upstream.host), timeouts=LONG)
        with memory_stays_under(40_000_000):
            async with asyncio.timeout(2):
                await ended.wait()


# What goes wrong


@pytest.mark.parametrize("at_once", [False, True], ids=["after the request", "at once"])
async def test_reset_connection_is_down(client: Client, at_once: bool) -> None:
    async with Upstream(resets, at_once=at_once) as upstream:
        with raises(Reason.UPSTREAM_DOWN, ""):
            await client.send(request_to(upstream.host, body=b"x"), timeouts=LONG)

    assert upstream.connections == 1


@pytest.mark.parametrize("at_once", [False, True], ids=["after the request", "at once"])
async def test_close_without_an_answer_is_down(client: Client, at_once: bool) -> None:
    async with Upstream(nothing, at_once=at_once) as upstream:
        with raises(Reason.UPSTREAM_DOWN, ""):
            await client.send(request_to(upstream.host, body=b"x"), timeouts=LONG)

    assert upstream.connections == 1


async def test_close_without_an_answer_is_described(client: Client) -> None:
    async with Upstream(nothing) as upstream:
        with raises(Reason.UPSTREAM_DOWN, "closed the connection without an answer"):
            await client.send(request_to(upstream.host), timeouts=LONG)


async def test_reset_in_the_middle_of_a_large_request_is_down(client: Client) -> None:
    async with Upstream(resets, at_once=True) as upstream:
        with raises(Reason.UPSTREAM_DOWN, ""):
            await client.send(request_to(upstream.host, body=bytes(30_000_000)), timeouts=LONG)


async def test_half_an_answer_is_garbled(client: Client) -> None:
    async with Upstream(half_answers) as upstream:
        with raises(Reason.UPSTREAM_GARBLED, "the answer broke off"):
            await client.send(request_to(upstream.host), timeouts=LONG)


async def test_garbage_is_garbled(client: Client) -> None:
    async with Upstream(garbage) as upstream:
        with raises(Reason.UPSTREAM_GARBLED, "the answer is not HTTP"):
            await client.send(request_to(upstream.host), timeouts=LONG)


@pytest.mark.parametrize("at_once", [False, True], ids=["after the request", "at once"])
async def test_silence_is_a_timeout(client: Client, at_once: bool) -> None:
    async with Upstream(hangs, at_once=at_once) as upstream:
        with raises(Reason.UPSTREAM_TIMEOUT, "no answer within 0.3 s"):
            await client.send(request_to(upstream.host), timeouts=SHORT)


async def test_dripping_answer_is_a_timeout(client: Client) -> None:
    started = time.monotonic()
    async with Upstream(drips) as upstream:
        with raises(Reason.UPSTREAM_TIMEOUT, "no answer within 0.3 s"):
            await client.send(request_to(upstream.host), timeouts=SHORT)

    assert time.monotonic() - started < 2


async def test_unread_request_is_a_timeout(client: Client) -> None:
    async def does_not_read(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with Upstream(does_not_read, at_once=True) as upstream:
        with raises(Reason.UPSTREAM_TIMEOUT, "no answer within 0.3 s"):
            await client.send(request_to(upstream.host, body=bytes(30_000_000)), timeouts=SHORT)


async def test_connection_that_does_not_come_about_is_a_timeout(client: Client) -> None:
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())

        with raises(Reason.UPSTREAM_TIMEOUT, "no connection within 0.2 s"):
            await client.send(request_to(f"127.0.0.1:{listener.getsockname()[1]}"), timeouts=SHORT)


async def test_upstream_without_tls_is_down(client: Client) -> None:
    async with Upstream(garbage, at_once=True) as upstream:
        request = Request("POST", "/", (("Host", upstream.host),), scheme="https")
        with raises(Reason.UPSTREAM_DOWN, "TLS failed (wrong version number)"):
            await client.send(request, timeouts=LONG)

    assert upstream.connections == 1


async def test_name_that_does_not_resolve_is_down(client: Client) -> None:
    with pytest.raises(UpstreamError) as caught:
        await client.send(request_to("nobody.invalid"), timeouts=LONG)

    assert caught.value.outcome.reason == Reason.UPSTREAM_DOWN
    assert caught.value.outcome.message == "nobody.invalid:80: the name does not resolve"


async def test_refused_connection_is_down(client: Client) -> None:
    with raises(Reason.UPSTREAM_DOWN, "connection refused"):
        await client.send(request_to(f"127.0.0.1:{free_port()}"), timeouts=LONG)


@pytest.mark.parametrize("behaviour", [nothing, resets, half_answers, garbage, hangs])
async def test_errors_contain_no_secret(client: Client, behaviour: Behaviour) -> None:
    async with Upstream(behaviour) as upstream:
        request = request_to(upstream.host, "/?sign=hush", headers=(("Authorization", "hush"),), body=b"hush")
        with pytest.raises(GatewayError) as caught:
            await client.send(request, timeouts=SHORT)

    assert "hush" not in "".join(traceback.format_exception(caught.value))


async def test_cancelling_passes_through(client: Client) -> None:
    async with Upstream(hangs) as upstream, asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(client.send(request_to(upstream.host), timeouts=LONG))
        while not upstream.received:
            await asyncio.sleep(0.01)
        sending.cancel()

    assert sending.cancelled()


# Connections and further attempts


async def test_refused_connection_is_tried_again(client: Client) -> None:
    port = free_port()
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(client.send(request_to(f"127.0.0.1:{port}"), timeouts=LONG))
        await asyncio.sleep(0.02)
        async with Upstream(answers(), port=port) as upstream:
            await sending

    assert (sending.result().status, len(upstream.received)) == (200, 1)


async def test_refused_connection_is_given_up_after_the_third_attempt(client: Client) -> None:
    started = time.monotonic()
    with raises(Reason.UPSTREAM_DOWN, "connection refused"):
        await client.send(request_to(f"127.0.0.1:{free_port()}"), timeouts=LONG)

    assert 0.25 <= time.monotonic() - started < 1


async def test_no_attempt_starts_after_the_deadline(client: Client) -> None:
    started = time.monotonic()
    with raises(Reason.UPSTREAM_DOWN, "connection refused"):
        await client.send(request_to(f"127.0.0.1:{free_port()}"), timeouts=Timeouts(total_s=0.2))

    assert time.monotonic() - started < 0.2


async def test_connection_is_kept_alive(client: Client) -> None:
    async with Upstream(answers(200, b"hello")) as upstream:
        for _ in range(3):
            await client.send(request_to(upstream.host, body=b"x"), timeouts=LONG)

    assert (len(upstream.received), upstream.connections) == (3, 1)


async def test_idle_connection_is_not_used_again() -> None:
    async with open_client(max_idle_s=0.05) as client, Upstream(answers()) as upstream:
        await client.send(request_to(upstream.host), timeouts=LONG)
        await asyncio.sleep(0.1)
        await client.send(request_to(upstream.host), timeouts=LONG)

    assert upstream.connections == 2


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
@pytest.mark.parametrize("drop", [nothing, resets], ids=["closes", "resets"])
async def test_request_is_not_repeated_when_a_kept_connection_breaks(
    client: Client, method: str, drop: Behaviour
) -> None:
    async with Upstream(in_turn(answers(), drop, answers())) as upstream:
        await client.send(request_to(upstream.host, method=method), timeouts=LONG)
        with raises(Reason.UPSTREAM_DOWN, ""):
            await client.send(request_to(upstream.host, method=method), timeouts=LONG)

    assert (len(upstream.received), upstream.connections) == (2, 1)


async def test_connection_that_the_upstream_closed_meanwhile_is_not_used(client: Client) -> None:
    async with Upstream(answers(headers=(("Connection", "close"),))) as upstream:
        await client.send(request_to(upstream.host), timeouts=LONG)
        await client.send(request_to(upstream.host), timeouts=LONG)

    assert (len(upstream.received), upstream.connections) == (2, 2)


async def test_late_answer_is_not_used_for_the_next_request(client: Client) -> None:
    async def answers_twice(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright")
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale")

    async with Upstream(answers_twice) as upstream:
        await client.send(request_to(upstream.host), timeouts=LONG)
        await asyncio.sleep(0.1)
        answer = await client.send(request_to(upstream.host), timeouts=LONG)

    assert answer.body == b"right"


async def test_hanging_upstream_does_not_use_connections_of_others() -> None:
    async with (
        open_client() as client,
        Upstream(hangs) as slow,
        Upstream(answers()) as quick,
        asyncio.TaskGroup() as tasks,
    ):
        waiting = tasks.create_task(client.send(request_to(slow.host), timeouts=LONG))
        while not slow.received:
            await asyncio.sleep(0.01)
        answer = await client.send(request_to(quick.host), timeouts=LONG)
        waiting.cancel()

    assert answer.status == 200


async def test_connection_after_a_timeout_is_not_used_again(client: Client) -> None:
    async with Upstream(in_turn(drips, answers())) as upstream:
        with raises(Reason.UPSTREAM_TIMEOUT, "no answer within"):
            await client.send(request_to(upstream.host), timeouts=SHORT)
        answer = await client.send(request_to(upstream.host), timeouts=LONG)

    assert (answer.status, upstream.connections) == (200, 2)


async def test_many_requests_at_once_all_get_their_own_answer(client: Client) -> None:
    async def echoes_the_target(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = upstream.received[-1].split()[1]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(target), target))

    async with Upstream(echoes_the_target) as upstream:
        targets = [f"/{number}" for number in range(100)]
        sending = [client.send(request_to(upstream.host, target), timeouts=LONG) for target in targets]
        answers_in_order = await asyncio.gather(*sending)

    assert [answer.body.decode() for answer in answers_in_order] == targets


# Answers that are streamed


async def test_stream_yields_the_head_before_the_body(client: Client) -> None:
    go_on = asyncio.Event()

    async def waits(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 5\r\n\r\n")
        await go_on.wait()
        writer.write(b"hello")

    async with Upstream(waits) as upstream, client.stream(request_to(upstream.host), timeouts=LONG) as answer:
        head = (answer.status, answer.headers, answer.length)
        go_on.set()
        body = await answer.read()
        end = await answer.read()

    assert head == (200, (("X-A", "1"), ("Content-Length", "5")), 5)
    assert (body, end) == (b"hello", b"")


async def test_stream_does_not_inflate(client: Client) -> None:
    squeezed = gzip.compress(b"hello")
    behaviour = answers(200, squeezed, (("Content-Encoding", "gzip"),))
    async with Upstream(behaviour) as upstream, client.stream(request_to(upstream.host), timeouts=LONG) as answer:
        body = await answer.read()

    assert body == squeezed
    assert ("Content-Encoding", "gzip") in answer.headers


async def test_stream_of_chunks_has_no_length(client: Client) -> None:
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    async with Upstream(writes(raw)) as upstream, client.stream(request_to(upstream.host), timeouts=LONG) as answer:
        body = await answer.read()

    assert (answer.length, body) == (None, b"hello")


@pytest.mark.parametrize(("reads", "connections"), [(True, 1), (False, 2)], ids=["to its end", "not at all"])
async def test_connection_serves_again_only_when_a_stream_was_read(
    client: Client, reads: bool, connections: int
) -> None:
    async with Upstream(answers(200, bytes(300_000))) as upstream:
        for _ in range(2):
            async with client.stream(request_to(upstream.host), timeouts=LONG) as answer:
                while reads and await answer.read():
                    pass

    assert upstream.connections == connections


async def test_stream_that_hangs_before_its_head_is_a_timeout(client: Client) -> None:
    async with Upstream(hangs) as upstream:
        with raises(Reason.UPSTREAM_TIMEOUT, "no answer within 0.3 s"):
            async with client.stream(request_to(upstream.host), timeouts=SHORT):
                pass


async def test_error_while_reading_a_stream_is_not_an_upstream_error(client: Client) -> None:
    async with Upstream(answers(200, b"hello")) as upstream:
        with pytest.raises(ConnectionResetError, match="ours"):
            async with client.stream(request_to(upstream.host), timeouts=LONG):
                raise ConnectionResetError("ours")
