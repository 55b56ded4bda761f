"""The HTTP/1.1 parser: rules beyond those of llhttp, without sockets."""

import pytest

from gateway.web.parser import MAX_HEAD_BYTES, MAX_HEADERS, Incoming, NotHttp, RequestParser

HEAD = b"POST /1 HTTP/1.1\r\nHost: h\r\n"
GET = b"GET /2 HTTP/1.1\r\nHost: h\r\n\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"


def parsed(*segments: bytes) -> list[Incoming]:
    requests: list[Incoming] = []
    parser = RequestParser(requests.append, lambda body: None)
    for segment in segments:
        parser.feed(segment)
    return requests


async def body_of(request: Incoming) -> bytes:
    assert request.body.complete
    return await request.body.read(max_bytes=1000, timeout_s=1)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"Content-Length: 5\r\n\r\nhello", id="length"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", id="chunked"),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("headers", [b"", UPGRADE], ids=["plain", "upgrade"])
async def test_the_next_request_begins_after_the_body(headers: bytes, body: bytes, size: int) -> None:
    raw = HEAD + headers + body + GET

    first, second = parsed(*(raw[start : start + size] for start in range(0, len(raw), size)))

    assert (first.request.target, await body_of(first)) == ("/1", b"hello")
    assert (second.request.target, await body_of(second)) == ("/2", b"")


def test_bytes_after_the_last_request_are_ignored() -> None:
    (request,) = parsed(b"GET /1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" + GET, GET)

    assert (request.request.target, request.keep_alive) == ("/1", False)


@pytest.mark.parametrize(
    "header",
    [b"Host: h", b"Content-Type: a\r\nContent-Type: b", b"User-Agent: a\r\nuser-agent: a"],
    ids=["host", "content type", "user agent"],
)
def test_a_repeated_single_header_is_rejected(header: bytes) -> None:
    with pytest.raises(NotHttp) as caught:
        parsed(HEAD + header + b"\r\n\r\n")

    assert caught.value.cause == "not_http"


@pytest.mark.parametrize(
    "endless",
    [
        pytest.param([HEAD] + [b"X: " + b"x" * 1000 + b"\r\n"] * 200, id="headers"),
        pytest.param([HEAD, b"X: "] + [b"x" * 1000] * 200, id="value"),
        pytest.param([HEAD, b"X: 1\r\n" * (MAX_HEADERS + 1)], id="number of headers"),
        pytest.param([b"GET /"] + [b"x" * 1000] * 200, id="target"),
    ],
)
def test_an_endless_head_is_rejected(endless: list[bytes]) -> None:
    with pytest.raises(NotHttp) as caught:
        parsed(*endless)

    assert caught.value.cause == "head_too_long"


@pytest.mark.parametrize(
    "endless", [[b"0\r\nX: "] + [b"x" * 1000] * 200, [b"5;a="] + [b"x" * 1000] * 200], ids=["trailer", "extension"]
)
def test_an_endless_part_between_chunks_is_rejected(endless: list[bytes]) -> None:
    with pytest.raises(NotHttp):
        parsed(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *endless)


def test_a_body_in_small_chunks_may_be_longer_than_a_head() -> None:
    (request,) = parsed(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[b"1\r\nx\r\n"] * MAX_HEAD_BYTES)

    assert request.body.size == MAX_HEAD_BYTES
