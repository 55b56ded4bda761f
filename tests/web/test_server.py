"""The HTTP layer over real sockets: requests and replies byte by byte."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, suppress

import pytest
from structlog.testing import capture_logs

from gateway.core.http.request import Response
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.web.listener import Listener, listen, parse_address
from gateway.web.parser import Incoming
from gateway.web.server import SURPLUS_CONNECTIONS, Handler, HttpLimits
from tests.support.caller import LONG_S, Caller, call


class Server:
    """A listener with a handler that notes what came in."""

    def __init__(self, answer: Handler) -> None:
        self.answer = answer
        self.seen: list[Incoming] = []
        self.listener: Listener

    async def handle(self, incoming: Incoming) -> Response:
        self.seen.append(incoming)
        return await self.answer(incoming)

    def call(self) -> AbstractAsyncContextManager[Caller]:
        return call(self.listener.address)


async def say_ok(incoming: Incoming) -> Response:
    return Response(200, (("Content-Type", "text/plain"),), b"ok")


async def echo(incoming: Incoming) -> Response:
    """Answer with the body as read, or with the reason that it could not be."""
    try:
        return Response(200, (), await incoming.body.read(max_bytes=1000, timeout_s=0.1))
    except CallerError as error:
        return Response(400, (), str(error.outcome.reason).encode())


POST_WITHOUT_BODY = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n"
Serve = Callable[..., Awaitable[Server]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    started: list[Listener] = []

    async def start(answer: Handler = say_ok, **limits: float) -> Server:
        server = Server(answer)
        server.listener = await listen(server.handle, "127.0.0.1:0", limits=HttpLimits(**limits))  # type: ignore[arg-type]
        started.append(server.listener)
        return server

    yield start
    for listener in started:
        await listener.close(0)


GET = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def post(body: str, *more: str) -> str:
    return "\r\n".join(["POST / HTTP/1.1", "Host: h", f"Content-Length: {len(body)}", *more, "", body])


# Requests.


async def test_target_and_headers_arrive_as_on_the_wire(serve: Serve) -> None:
    server = await serve()

    async with server.call() as caller:
        caller.send(
            b"GET //a%2Fb/../%7Ex?q=%20+&& HTTP/1.1\r\nhOST: h\r\nX-A: 1\r\nx-a:  \xc3\xa9\xff \r\nX-A: 3\r\n\r\n"
        )
        await caller.reply()

    [incoming] = server.seen
    assert incoming.request.method == "GET"
    assert incoming.request.target == "//a%2Fb/../%7Ex?q=%20+&&"
    assert incoming.request.headers == (("hOST", "h"), ("X-A", "1"), ("x-a", "é\udcff"), ("X-A", "3"))
    assert (incoming.request.scheme, incoming.peer, incoming.problem) == ("http", "127.0.0.1", None)


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("GET http://other/p%2F?q=/x", "/p%2F?q=/x"),
        ("GET http://other", "/"),
        ("GET http://other:80?q", "/?q"),
        ("GET http://xn--0.x/p", "/p"),
        ("OPTIONS *", "*"),
        ("CONNECT host:443", "host:443"),
        ("GET /p?u=http://x/y", "/p?u=http://x/y"),
    ],
)
async def test_every_form_of_target_is_reduced_to_path_and_query(serve: Serve, line: str, target: str) -> None:
    server = await serve()

    async with server.call() as caller:
        caller.send(f"{line} HTTP/1.1\r\nHost: h\r\n\r\n")
        head, _ = await caller.reply()

    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert server.seen[0].request.target == target


async def test_a_declined_upgrade_does_not_affect_the_next_request(serve: Serve) -> None:
    server = await serve(echo)

    async with server.call() as caller:
        caller.send("GET /1 HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + post("body"))

        assert (await caller.reply())[1] == b""
        assert (await caller.reply())[1] == b"body"


async def test_content_is_not_decompressed(serve: Serve) -> None:
    server = await serve(echo)

    async with server.call() as caller:
        caller.send(post("\x1f not gzip", "Content-Encoding: gzip"))
        _, body = await caller.reply()

    assert body == b"\x1f not gzip"


async def test_chunks_are_joined_and_trailers_dropped(serve: Serve) -> None:
    server = await serve(echo)

    async with server.call() as caller:
        caller.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n")
        await asyncio.sleep(0.01)
        caller.send("2\r\nde\r\n0\r\nX-T: 1\r\n\r\n" + GET)

        assert (await caller.reply())[1] == b"abcde"
        assert (await caller.reply())[1] == b""


# Invalid HTTP.


@pytest.mark.parametrize(
    "raw",
    [
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: h\r\n\r\n",
        b"CONNECT \nh:1 HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"x" * 132000 + b"\r\n\r\n",
        b"GET /" + b"x" * 600000 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
    ],
    ids=[
        "words",
        "tls",
        "http2",
        "no-host",
        "fold",
        "nul",
        "two-lengths",
        "both-framings",
        "url",
        "no-url",
        "line",
        "target",
    ],
)
async def test_invalid_http_gets_a_short_json_400(serve: Serve, raw: bytes) -> None:
    server = await serve()

    with capture_logs() as lines:
        async with server.call() as caller:
            caller.send(raw)
            head, body = await caller.reply()

            assert await caller.rest() == b""
    assert head.startswith("HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n")
    assert "\r\nConnection: close\r\n" in head
    assert json.loads(body)["code"] == "INVALID_ARGUMENT"
    assert json.loads(body)["reason"] == "NOT_PARSED"
    assert server.seen == []
    assert [(line["event"], line["log_level"]) for line in lines] == [("request_rejected", "warning")]


async def test_an_endless_head_is_rejected(serve: Serve) -> None:
    server = await serve()

    async with server.call() as caller:
        caller.send("GET / HTTP/1.1\r\nHost: h\r\n")
        for number in range(40):
            caller.send(f"A{number}: {'x' * 5000}\r\n")
            await asyncio.sleep(0)
        head, _ = await caller.reply()

    assert head.startswith("HTTP/1.1 400 Bad Request\r\n")


async def test_a_head_over_the_configured_limit_is_a_problem_for_the_handler(serve: Serve) -> None:
    server = await serve(max_head_bytes=100)

    async with server.call() as caller:
        for size in (100, 101):
            caller.send("GET / HTTP/1.1\r\nHost: h\r\nA: \r\n\r\n".replace("A: ", "A: " + "x" * (size - 32)))
        await caller.reply()
        await caller.reply()

    assert server.seen[0].problem is None
    assert server.seen[1].problem is not None
    assert server.seen[1].problem.reason is Reason.BAD_HEADER


# Rejected bodies.


async def test_a_declared_length_over_the_limit_is_rejected_while_the_caller_sends(serve: Serve) -> None:
    server = await serve(echo)

    async with server.call() as caller:
        caller.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2097152\r\n\r\n")
        for _ in range(32):
            caller.send(bytes(65536))
            await caller.writer.drain()
        head, body = await caller.reply()

        assert await caller.rest() == b""
    assert "\r\nConnection: close\r\n" in head
    assert body == b"TOO_LARGE"


async def test_a_chunked_body_over_the_limit_is_rejected(serve: Serve) -> None:
    server = await serve(echo)

    async with server.call() as caller:
        caller.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(50):
            caller.send("8000\r\n" + "x" * 0x8000 + "\r\n")
            await caller.writer.drain()
        head, body = await caller.reply()

        assert await caller.rest() == b""
    assert "\r\nConnection: close\r\n" in head
    assert body == b"TOO_LARGE"


async def test_a_complete_body_over_the_limit_is_rejected(serve: Serve) -> None:
    server = await serve(echo)

    async with server.call() as caller:
        caller.send(
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + "x" * 1001 + "\r\n0\r\n\r\n"
        )
        _, body = await caller.reply()

    assert body == b"TOO_LARGE"


async def test_a_trickling_body_does_not_extend_its_deadline(serve: Serve) -> None:
    server = await serve(echo)

    async with server.call() as caller:
        caller.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n")
        for _ in range(15):
            caller.send("x")
            await asyncio.sleep(0.01)
        head, body = await caller.reply()

    assert "\r\nConnection: close\r\n" in head
    assert body == b"TOO_SLOW"


@pytest.mark.parametrize("framing", ["Content-Length: 10", "Transfer-Encoding: chunked"])
async def test_a_body_cut_short_is_not_parsed(serve: Serve, framing: str) -> None:
    server = await serve(echo)

    async with server.call() as caller:
        caller.send(f"POST / HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n4\r\nab")
        await asyncio.sleep(0.01)
        caller.writer.write_eof()
        _, body = await caller.reply()

    assert body == b"NOT_PARSED"


async def test_garbage_between_chunks_is_not_parsed(serve: Serve) -> None:
    server = await serve(echo)

    async with server.call() as caller:
        caller.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        await asyncio.sleep(0.01)
        caller.send("zz\r\n")
        head, body = await caller.reply()

        assert await caller.rest() == b""
    assert "\r\nConnection: close\r\n" in head
    assert body == b"NOT_PARSED"


async def test_a_small_unread_body_keeps_the_connection(serve: Serve) -> None:
    server = await serve()

    async with server.call() as caller:
        caller.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n")
        head, _ = await caller.reply()
        caller.send("abcde" + GET)
        await caller.reply()

    assert "Connection" not in head
    assert [incoming.request.method for incoming in server.seen] == ["POST", "GET"]


async def test_an_unread_body_is_not_received(serve: Serve) -> None:
    begun = asyncio.Event()

    async def wait(incoming: Incoming) -> Response:
        begun.set()
        await asyncio.sleep(60)
        return Response(200)

    server = await serve(wait)

    async with server.call() as caller:
        caller.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n")
        await begun.wait()
        with suppress(TimeoutError):
            for sent_mb in range(100):  # noqa: B007  # read below
                caller.send(bytes(1_000_000))
                async with asyncio.timeout(0.5):
                    await caller.writer.drain()
        caller.writer.transport.abort()

    assert sent_mb < 20


# Expect: 100-continue.

EXPECTING = "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: {}\r\n\r\n"


async def test_expect_100_continue_is_answered_when_the_body_is_read(serve: Serve) -> None:
    server = await serve(echo)

    async with server.call() as caller:
        caller.send(EXPECTING.format(4))
        assert await caller.head() == "HTTP/1.1 100 Continue\r\n\r\n"
        caller.send("body")
        _, body = await caller.reply()

    assert body == b"body"


async def test_expect_100_continue_is_not_answered_for_a_body_too_large(serve: Serve) -> None:
    server = await serve(echo)

    async with server.call() as caller:
        caller.send(EXPECTING.format(1001))
        head, body = await caller.reply()

        assert await caller.rest() == b""
    assert head.startswith("HTTP/1.1 400 ")
    assert "\r\nConnection: close\r\n" in head
    assert body == b"TOO_LARGE"


async def test_expect_100_continue_is_not_answered_if_the_body_arrived(serve: Serve) -> None:
    server = await serve(echo)

    async with server.call() as caller:
        caller.send(EXPECTING.format(4) + "body")
        head, body = await caller.reply()

    assert head.startswith("HTTP/1.1 200 ")
    assert body == b"body"


# Replies.


def answer(response: Response) -> Handler:
    async def handle(incoming: Incoming) -> Response:
        return response

    return handle


async def lines_of(server: Server, request: str = GET) -> list[str]:
    """Return the reply's lines, sorted but for the first, without the Date."""
    async with server.call() as caller:
        caller.send(request)
        first, *rest = (await caller.head()).splitlines()
    return [first, *sorted(line for line in rest if line and not line.startswith("Date: "))]


async def test_a_reply_has_the_headers_of_the_response_and_its_length(serve: Serve) -> None:
    headers = (("Content-Type", "application/json"), ("x-a", "1"), ("X-A", "é"), ("Content-Length", "99"))
    server = await serve(answer(Response(402, headers, b"{}")))

    assert await lines_of(server) == [
        "HTTP/1.1 402 Payment Required",
        "Content-Length: 2",
        "Content-Type: application/json",
        "X-A: é",
        "x-a: 1",
    ]


@pytest.mark.parametrize(
    ("response", "lines"),
    [
        (Response(200), ["HTTP/1.1 200 OK", "Content-Length: 0"]),
        (Response(299, (), b"x"), ["HTTP/1.1 299 ", "Content-Length: 1"]),
        (Response(204, (), b"x"), ["HTTP/1.1 204 No Content"]),
        (Response(304), ["HTTP/1.1 304 Not Modified"]),
    ],
)
async def test_a_reply_has_no_other_headers(serve: Serve, response: Response, lines: list[str]) -> None:
    server = await serve(answer(response))

    assert await lines_of(server) == lines


async def test_head_is_answered_without_a_body(serve: Serve) -> None:
    server = await serve()

    async with server.call() as caller:
        caller.send("HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        head = await caller.head()

        assert await caller.rest() == b""
    assert "\r\nContent-Length: 2\r\n" in head


@pytest.mark.parametrize(
    ("request_", "connection", "stays"),
    [
        ("GET / HTTP/1.0\r\n\r\n", "Connection: close", False),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "Connection: keep-alive", True),
        ("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "Connection: close", False),
    ],
    ids=["1.0", "1.0-keep-alive", "1.1-close"],
)
async def test_the_caller_decides_whether_the_connection_stays_open(
    serve: Serve, request_: str, connection: str, stays: bool
) -> None:
    server = await serve()

    async with server.call() as caller:
        caller.send(request_)
        head, _ = await caller.reply()
        if stays:
            caller.send(request_)
            await caller.reply()
        else:
            assert await caller.rest() == b""

    assert head.startswith(request_[6:14] + " 200 OK\r\n")
    assert f"\r\n{connection}\r\n" in head


async def test_pipelined_requests_are_answered_in_order(serve: Serve) -> None:
    async def name(incoming: Incoming) -> Response:
        await asyncio.sleep(0.02 if incoming.request.target == "/0" else 0)
        return Response(200, (), incoming.request.target.encode())

    server = await serve(name)

    async with server.call() as caller:
        caller.send("".join(f"GET /{number} HTTP/1.1\r\nHost: h\r\n\r\n" for number in range(100)))
        replies = [(await caller.reply())[1].decode() for _ in range(100)]

    assert replies == [f"/{number}" for number in range(100)]


async def test_a_large_reply_is_complete(serve: Serve) -> None:
    server = await serve(answer(Response(200, (), bytes(5_000_000))))

    async with server.call() as caller:
        caller.send(GET)
        await asyncio.sleep(0.02)

        assert len((await caller.reply())[1]) == 5_000_000


@pytest.mark.parametrize("header", [("X", "a\r\nSet-Cookie: b"), ("X\nY", "a"), ("X", "\0")])
async def test_a_header_cannot_split_a_reply(serve: Serve, header: tuple[str, str]) -> None:
    server = await serve(answer(Response(200, (header,), b"")))

    with capture_logs() as lines:
        assert (await lines_of(server))[0] == "HTTP/1.1 500 Internal Server Error"
    assert len(lines) == 1


async def test_an_exception_in_the_handler_is_a_plain_500_and_logged_once(serve: Serve) -> None:
    async def fail(incoming: Incoming) -> Response:
        raise TimeoutError("a secret")

    server = await serve(fail)

    with capture_logs() as lines:
        async with server.call() as caller:
            caller.send(GET)
            head, body = await caller.reply()
            caller.send(GET)
            await caller.reply()

    assert head.startswith("HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n")
    assert json.loads(body) == {"code": "INTERNAL", "reason": "INTERNAL", "message": "internal error"}
    assert lines == [{"event": "internal_error", "log_level": "error", "exc_info": True, "method": "GET"}] * 2


# Timeouts.


async def test_a_trickling_head_gets_408(serve: Serve) -> None:
    server = await serve(head_timeout_s=0.1)

    async with server.call() as caller:
        for byte in "GET / HTTP/1.1\r":
            caller.send(byte)
            await asyncio.sleep(0.01)
        head, body = await caller.reply()

        assert await caller.rest() == b""
    assert head.startswith("HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\n")
    assert json.loads(body)["code"] == "DEADLINE_EXCEEDED"
    assert json.loads(body)["reason"] == "TOO_SLOW"


async def test_a_silent_connection_gets_408(serve: Serve) -> None:
    server = await serve(head_timeout_s=0.05)

    async with server.call() as caller:
        assert (await caller.head()).startswith("HTTP/1.1 408 ")


async def test_the_deadline_of_a_further_head_starts_at_its_first_byte(serve: Serve) -> None:
    server = await serve(head_timeout_s=0.1)

    async with server.call() as caller:
        caller.send(GET)
        await caller.reply()
        await asyncio.sleep(0.15)
        caller.send(GET[:5])
        await asyncio.sleep(0.05)
        caller.send(GET[5:])
        await caller.reply()
        caller.send(GET[:5])

        assert (await caller.head()).startswith("HTTP/1.1 408 ")


async def test_a_slow_handler_is_not_a_slow_head(serve: Serve) -> None:
    async def slow(incoming: Incoming) -> Response:
        await asyncio.sleep(0.15)
        return Response(200)

    server = await serve(slow, head_timeout_s=0.05, idle_timeout_s=0.05)

    async with server.call() as caller:
        caller.send(GET)
        await asyncio.sleep(0.01)
        caller.send(GET[:5])

        assert (await caller.head()).startswith("HTTP/1.1 200 ")
        assert (await caller.head()).startswith("HTTP/1.1 408 ")


@pytest.mark.parametrize("body", [[b"hello"], [b"he", b"llo"]], ids=["one segment", "two"])
async def test_a_body_in_separate_segments_starts_no_head(serve: Serve, body: list[bytes]) -> None:
    server = await serve(echo, head_timeout_s=0.1)

    async with server.call() as caller:
        for _ in range(3):
            for segment in (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n", *body):
                caller.send(segment)
                await asyncio.sleep(0.02)
            assert (await caller.parsed()).body == b"hello"
            await asyncio.sleep(0.25)  # silence for longer than a head may take


async def test_an_idle_connection_is_closed(serve: Serve) -> None:
    server = await serve(idle_timeout_s=0.05)

    async with server.call() as caller:
        caller.send(GET)
        await caller.reply()

        assert await caller.rest() == b""


async def test_a_caller_that_does_not_read_its_reply_is_disconnected(serve: Serve) -> None:
    server = await serve(answer(Response(200, (), bytes(50_000_000))), idle_timeout_s=0.05)

    async with server.call() as caller:
        caller.send(GET)
        await caller.reader.readexactly(1)
        async with asyncio.timeout(LONG_S):
            await server.listener.close(2 * LONG_S)  # returns when the last connection has gone

        assert len(await caller.rest()) < 49_999_999


async def test_a_caller_that_disconnects_does_not_cancel_the_handler(serve: Serve) -> None:
    begun, done = asyncio.Event(), asyncio.Event()

    async def slow(incoming: Incoming) -> Response:
        begun.set()
        await asyncio.sleep(0.03)
        done.set()
        return Response(200)

    server = await serve(slow)

    with capture_logs() as lines:
        async with server.call() as caller:
            caller.send(GET)
            await begun.wait()
            caller.writer.transport.abort()
        await server.listener.close(LONG_S)

    assert done.is_set()
    assert lines == []


async def test_a_disconnect_within_the_body_ends_the_reading(serve: Serve) -> None:
    begun, reasons = asyncio.Event(), []

    async def read(incoming: Incoming) -> Response:
        begun.set()
        with pytest.raises(CallerError) as caught:
            await incoming.body.read(max_bytes=1000, timeout_s=LONG_S)
        reasons.append(caught.value.outcome.reason)
        return Response(400)

    server = await serve(read)

    async with server.call() as caller:
        caller.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n")
        await begun.wait()
        caller.writer.transport.abort()
    await server.listener.close(LONG_S)

    assert reasons == [Reason.NOT_PARSED]


async def test_a_half_closed_connection_gets_its_replies(serve: Serve) -> None:
    server = await serve(echo)

    async with server.call() as caller:
        caller.send(GET + post("body"))
        caller.writer.write_eof()

        assert (await caller.reply())[1] == b""
        assert (await caller.reply())[1] == b"body"
        assert await caller.rest() == b""


# Many connections.


async def test_a_connection_over_the_limit_gets_overloaded(serve: Serve) -> None:
    server = await serve(max_connections=1)

    async with server.call() as first:
        first.send(GET)
        await first.reply()
        server.seen.clear()
        async with server.call() as second:
            await surplus(server, first, second)


async def surplus(server: Server, first: Caller, second: Caller) -> None:
    second.send(GET)
    head, _ = await second.reply()
    assert await second.rest() == b""
    first.send(GET)
    await first.reply()

    overloaded, fine = server.seen
    assert "\r\nConnection: close\r\n" in head
    assert overloaded.problem is not None
    assert (overloaded.problem.reason, overloaded.problem.retry_after_s) == (Reason.OVERLOADED, 1)
    assert fine.problem is None


async def test_a_closed_connection_frees_its_place(serve: Serve) -> None:
    server = await serve(max_connections=1)

    for _ in range(3):
        async with server.call() as caller:
            caller.send(GET)
            await caller.reply()
        await asyncio.sleep(0.01)

    assert [incoming.problem for incoming in server.seen] == [None] * 3


async def test_connections_far_over_the_limit_are_closed_immediately(serve: Serve) -> None:
    server = await serve(max_connections=1)

    async with AsyncExitStack() as stack:
        callers = []
        for _ in range(1 + SURPLUS_CONNECTIONS):
            callers.append(await stack.enter_async_context(server.call()))
            callers[-1].send(POST_WITHOUT_BODY)
        await asyncio.sleep(0.1)
        last = await stack.enter_async_context(server.call())

        assert await last.rest() == b""
        assert not callers[-1].reader.at_eof()


async def test_a_new_connection_evicts_an_idle_one_that_was_never_served(serve: Serve) -> None:
    server = await serve(max_connections=4)

    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(server.call())
        served.send(GET)
        await served.reply()
        idle = [await stack.enter_async_context(server.call()) for _ in range(3)]
        new = await stack.enter_async_context(server.call())

        assert await idle[0].rest() == b""
        for caller in (served, new):
            caller.send(GET)
            assert (await caller.reply())[0].startswith("HTTP/1.1 200 ")


async def test_a_request_being_handled_is_not_evicted_if_garbage_follows_it(serve: Serve) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(incoming: Incoming) -> Response:
        begun.set()
        await go_on.wait()
        return Response(200)

    server = await serve(slow, max_connections=2)

    async with AsyncExitStack() as stack:
        caller = await stack.enter_async_context(server.call())
        caller.send(GET + "garbage\r\n\r\n")
        await begun.wait()
        for _ in range(5):
            await stack.enter_async_context(server.call())
        await asyncio.sleep(0.05)
        go_on.set()

        assert (await caller.reply())[0].startswith("HTTP/1.1 200 ")
        assert (await caller.reply())[0].startswith("HTTP/1.1 400 ")


async def test_a_caller_that_half_closes_during_its_request_is_closed_after_the_reply(serve: Serve) -> None:
    async def slow(incoming: Incoming) -> Response:
        await asyncio.sleep(0.05)
        return Response(200)

    server = await serve(slow)

    async with server.call() as caller:
        caller.send(GET)
        await asyncio.sleep(0.01)
        caller.writer.write_eof()

        assert "\r\nConnection: close\r\n" in (await caller.reply())[0]
        async with asyncio.timeout(LONG_S):
            assert await caller.rest() == b""


# Shutdown.


async def test_closing_answers_running_and_waiting_requests(serve: Serve) -> None:
    begun = asyncio.Event()

    async def slow(incoming: Incoming) -> Response:
        begun.set()
        await asyncio.sleep(0.05)
        return Response(200, (), incoming.request.target.encode())

    server = await serve(slow)

    async with server.call() as caller, server.call() as waiting:
        caller.send(GET + "GET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
        await begun.wait()
        waiting.send("GET /3 HTTP/1.1\r\nHost: h\r\n\r\n")
        await server.listener.close(LONG_S)

        assert "Connection: close" not in (await caller.reply())[0]
        last, body = await caller.reply()
        assert body == b"/2"
        assert "\r\nConnection: close\r\n" in last
        assert await caller.rest() == b""
        assert (await waiting.reply())[1] == b"/3"


async def test_closing_answers_connections_in_the_accept_queue(serve: Serve) -> None:
    server = await serve()
    host, port = parse_address(server.listener.address)

    with ExitStack() as stack:
        # Plain sockets, so that the loop has no turn in which it could accept them.
        sockets = [stack.enter_context(socket.create_connection((host, port))) for _ in range(5)]
        for each in sockets:
            each.sendall(GET.encode())
        await server.listener.close(LONG_S)

        assert [each.recv(12) for each in sockets] == [b"HTTP/1.1 200"] * 5


async def test_closing_closes_idle_connections_and_accepts_no_new_ones(serve: Serve) -> None:
    server = await serve()

    async with server.call() as used, server.call() as fresh:
        used.send(GET)
        await used.reply()
        async with asyncio.timeout(1):
            await server.listener.close(LONG_S)

        assert await used.rest() == b""
        assert await fresh.rest() == b""
    with pytest.raises(ConnectionRefusedError):
        async with server.call():
            pass


async def test_closing_aborts_requests_after_the_grace_period(serve: Serve) -> None:
    cancelled = asyncio.Event()

    async def stuck(incoming: Incoming) -> Response:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()
        return Response(200)

    server = await serve(stuck)

    async with server.call() as caller:
        caller.send(GET)
        await asyncio.sleep(0.02)
        async with asyncio.timeout(1):
            await server.listener.close(0.1)

        assert cancelled.is_set()
        assert await caller.rest() == b""


async def test_closing_waits_for_an_arriving_request(serve: Serve) -> None:
    server = await serve(echo)

    async with server.call() as caller, asyncio.TaskGroup() as group:
        caller.send(GET[:10])
        await asyncio.sleep(0.01)
        group.create_task(server.listener.close(LONG_S))
        await asyncio.sleep(0.1)
        caller.send(GET[10:])

        assert "\r\nConnection: close\r\n" in (await caller.reply())[0]


# Addresses.


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("[::]:8080", ("::", 8080)),
        (":0", ("", 0)),
        ("localhost:80", ("localhost", 80)),
    ],
)
def test_an_address_is_a_host_and_a_port(address: str, parsed: tuple[str, int]) -> None:
    assert parse_address(address) == parsed


@pytest.mark.parametrize("address", ["", "8080", "host", "host:", "host:x", "::1:80", "host:65536", "a:-1", "a:\u0661"])
def test_an_invalid_address_is_an_error(address: str) -> None:
    with pytest.raises(ValueError, match=f"^'{address}' "):
        parse_address(address)


async def test_every_interface_is_one_port_and_peers_have_plain_addresses() -> None:
    server = Server(say_ok)
    server.listener = await listen(server.handle, ":0")
    port = parse_address(server.listener.address)[1]

    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    caller = Caller(reader, writer)
    caller.send(GET)
    await caller.reply()
    writer.close()
    await server.listener.close(1)

    assert server.listener.address in (f"[::]:{port}", f"0.0.0.0:{port}")
    assert server.seen[0].peer == "127.0.0.1"


async def test_a_taken_address_raises_os_error(serve: Serve) -> None:
    server = await serve()

    with pytest.raises(OSError, match="in use"):
        await listen(say_ok, server.listener.address)


@pytest.mark.parametrize(
    "request_",
    [
        "POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: h\r\n\r\n",
    ],
    ids=["chunked of 1.0", "gzip and chunked", "2.0"],
)
async def test_ambiguous_framing_is_rejected(serve: Serve, request_: str) -> None:
    server = await serve()

    async with server.call() as caller:
        caller.send(request_)
        head, _ = await caller.reply()

        assert await caller.rest() == b""
    assert head.startswith("HTTP/1.1 400 ")
    assert "\r\nConnection: close\r\n" in head


async def test_rejected_requests_are_counted_and_logged_once_a_second() -> None:
    async def never(incoming: Incoming) -> Response:
        raise AssertionError("it reached the handler")

    causes: list[str] = []
    limits = HttpLimits(head_timeout_s=0.1)
    listener = await listen(never, "127.0.0.1:0", limits=limits, on_reject=causes.append)
    try:
        with capture_logs() as lines:
            for raw in ("nonsense\r\n\r\n", "GET / HTTP/2.0\r\nHost: h\r\n\r\n", "GET"):
                async with call(listener.address) as caller:
                    caller.send(raw)
                    await caller.rest()
    finally:
        await listener.close(0)

    assert causes == ["not_http", "not_http", "head_too_slow"]
    assert lines == [{"event": "request_rejected", "log_level": "warning", "cause": "not_http", "peer": "127.0.0.1"}]
