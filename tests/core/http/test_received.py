import gzip
import zlib
from typing import Any

import pytest

from gateway.core.http.received import BodyKind, Caps, ReceivedRequest, inflate
from gateway.core.http.request import PublicUrl, Request
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason


def bare_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def received(body: bytes = b"", kind: BodyKind = "none", target: str = "/", **headers: str) -> ReceivedRequest:
    fields = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return ReceivedRequest(Request("POST", target, fields, body), kind)


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        pytest.param("gzip", gzip.compress(b"hello"), id="gzip"),
        pytest.param("X-GZIP", gzip.compress(b"hello"), id="x-gzip"),
        pytest.param("gzip", gzip.compress(b"hel") + gzip.compress(b"") + gzip.compress(b"lo"), id="three members"),
        pytest.param("deflate", zlib.compress(b"hello"), id="zlib"),
        pytest.param("Deflate", bare_deflate(b"hello"), id="bare deflate"),
        pytest.param("identity", b"hello", id="identity"),
        pytest.param("identity, gzip", gzip.compress(b"hello"), id="identity and gzip"),
        pytest.param(" , ", b"hello", id="empty members"),
    ],
)
def test_content_encoding_is_decoded(encoding: str, data: bytes):
    assert received(data, content_encoding=encoding).content == b"hello"


@pytest.mark.parametrize(
    ("encoding", "data", "reason", "message"),
    [
        pytest.param(
            "br", b"x", Reason.BAD_HEADER, "Content-Encoding 'br' is not known; gzip and deflate are", id="br"
        ),
        pytest.param("gzip, gzip", b"x", Reason.BAD_HEADER, "more than one Content-Encoding", id="doubled"),
        pytest.param("gzip", b"hello", Reason.NOT_PARSED, "the body is not gzip", id="not gzip"),
        pytest.param("gzip", b"", Reason.NOT_PARSED, "the body is not gzip", id="empty"),
        pytest.param("gzip", gzip.compress(b"hello")[:-1], Reason.NOT_PARSED, "the body is not gzip", id="cut short"),
        pytest.param(
            "gzip", gzip.compress(b"hello") + b"x", Reason.NOT_PARSED, "the body is not gzip", id="rubbish after"
        ),
        pytest.param("gzip", gzip.compress(b"") * 17, Reason.NOT_PARSED, "the body is not gzip", id="17 members"),
        pytest.param("gzip", gzip.compress(bytes(9_000_000)), Reason.TOO_LARGE, "larger than 8388608 bytes", id="bomb"),
        pytest.param("deflate", bare_deflate(bytes(9_000_000)), Reason.TOO_LARGE, "larger than", id="bare bomb"),
    ],
)
def test_body_that_cannot_be_decoded_is_rejected(encoding: str, data: bytes, reason: Reason, message: str):
    with pytest.raises(CallerError, match=message) as caught:
        _ = received(data, content_encoding=encoding).content

    assert caught.value.outcome.reason is reason


@pytest.mark.parametrize("size", [10, 11])
def test_inflated_bytes_of_all_gzip_members_are_limited(size: int):
    data = gzip.compress(b"x" * 5) + gzip.compress(b"x" * (size - 5))

    if size <= 10:
        assert inflate(data, "gzip", 10) == b"x" * size
    else:
        with pytest.raises(CallerError, match="larger than 10 bytes"):
            inflate(data, "gzip", 10)


def test_repeated_content_encoding_header_is_rejected():
    message = ReceivedRequest(
        Request("POST", "/", (("Content-Encoding", "gzip"), ("content-encoding", "gzip"))), "json"
    )

    with pytest.raises(CallerError, match="more than one"):
        _ = message.body


@pytest.mark.parametrize(
    ("kind", "body", "value"),
    [
        pytest.param("json", b'{"a": 1}', {"a": 1}, id="json"),
        pytest.param("form", b"a=1&b=%C3%A4+x&b=&c", {"a": "1", "b": ["ä x", ""], "c": ""}, id="form"),
        pytest.param("form", b"a=1&a=2&a=3", {"a": ["1", "2", "3"]}, id="thrice"),
        pytest.param("text", "ä".encode(), "ä", id="text"),
        pytest.param("none", b"ignored", None, id="none"),
    ],
)
def test_body_is_parsed_by_its_kind(kind: BodyKind, body: bytes, value: Any):
    assert received(body, kind).body == value


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        pytest.param("json", b"", "the body is empty, and JSON is expected", id="empty"),
        pytest.param("json", b"{", "the body is not JSON: .* at line 1 column 2", id="broken"),
        pytest.param("text", b"\xff", "the body is not UTF-8", id="text"),
        pytest.param("form", b"\xff", "the body is not UTF-8", id="form"),
        pytest.param("form", b"a=%ff", "a parameter is not UTF-8", id="parameter"),
        pytest.param("form", b"a&" * 2001, "more than 2000 parameters", id="many"),
    ],
)
def test_unparsable_body_is_rejected(kind: BodyKind, body: bytes, message: str):
    with pytest.raises(CallerError, match=message) as caught:
        _ = received(body, kind).body

    assert caught.value.outcome.reason is Reason.NOT_PARSED


@pytest.mark.parametrize("part", ["query", "bound_query"])
def test_query_with_too_many_parameters_is_rejected(part: str):
    with pytest.raises(CallerError, match="more than 2000 parameters"):
        getattr(received(target="/?" + "&".join(["a=1"] * 2001)), part)


def test_request_behind_a_proxy_has_the_same_limits():
    message = ReceivedRequest(Request("POST", "/", (), b""), "none", Caps(inflated_bytes=7))

    assert message.as_sent_to(PublicUrl("https", "h", "")).caps == Caps(inflated_bytes=7)


def test_query_keeps_order_repetitions_and_blank_values():
    message = received(target="/p?b=2&a=1&b=&c=%2B+x")

    assert message.query == [("b", "2"), ("a", "1"), ("b", ""), ("c", "+ x")]


def test_headers_have_lower_case_names_and_joined_repetitions():
    message = ReceivedRequest(Request("GET", "/", (("X-TC-Action", "a"), ("x-tc-action", "b"), ("Host", "h"))), "none")

    assert message.headers == {"x_tc_action": "a, b", "host": "h"}


def test_parts_are_parsed_on_first_use():
    message = received(b"{", "json", content_encoding="br", host="h")

    assert message.headers["host"] == "h"
    assert message.query == []
