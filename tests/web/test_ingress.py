"""A report over real sockets: from the caller to the upstream and back."""

import asyncio
import gzip
import json
import re
import zlib
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from gateway.web.server import HttpLimits
from tests.support.caller import LONG_S, Reply
from tests.support.gateway import (
    ENVIRON,
    KEY,
    KEY_ID,
    SAMPLE,
    SAMPLE_SENT,
    SESSION,
    TARGET,
    Running,
    datum,
    raw_report,
    running,
    says,
    with_deadline,
)
from tests.support.upstream import (
    Behaviour,
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
)

INVALID = "One or more API argument is invalid"
CHUNKED_HEAD = (
    f"POST {TARGET} HTTP/1.1\r\nHost: h\r\nAuthorization: OAuth {SESSION}\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def check_common(reply: Reply, content_type: str) -> None:
    """Check the headers that every reply of a known route has, and has not."""
    names = [name for name, _ in reply.headers]
    assert reply.header("content-type") == content_type
    assert re.fullmatch("[0-9a-f]{32}", reply.header("x-request-id") or "")
    assert set(names) <= {
        "content-type",
        "x-request-id",
        "date",
        "content-length",
        "connection",
        "retry-after",
        "allow",
    }
    assert len(names) == len(set(names))


def check_rejected(reply: Reply, code: str, details: str, words: str = INVALID) -> None:
    """Check a rejection in the dialect of the shipped route's source."""
    check_common(reply, "application/json")
    assert reply.json == {"error": {"code": code, "description": words, "details": details}}
    assert reply.status == 503


def check_plain_text(reply: Reply, status: int, text: str) -> None:
    """Check a rejection of the HTTP layer of the shipped route's source."""
    check_common(reply, "text/plain; charset=utf-8")
    assert (reply.status, reply.text) == (status, text)


def check_short_json(reply: Reply, status: int, reason: str) -> None:
    """Check a rejection that belongs to no route."""
    assert (reply.status, reply.header("content-type")) == (status, "application/json")
    assert reply.json["reason"] == reason
    assert "server" not in dict(reply.headers)


# Accepted reports.


async def test_a_report_is_translated_signed_and_answered(gateway: Running) -> None:
    reply = await gateway.send(raw_report())

    [sent] = gateway.sent
    assert {name: sent[name] for name in SAMPLE_SENT} == SAMPLE_SENT
    assert {"SecretId": KEY_ID, "Region": "sh"}.items() <= sent.items()
    assert (reply.status, reply.body) == (200, b"{}")
    check_common(reply, "application/json")


async def test_the_upstream_receives_only_the_headers_of_the_spec(gateway: Running) -> None:
    await gateway.send(raw_report(SAMPLE, "Cookie: a=b", "User-Agent: theirs", "X-Forwarded-For: 10.0.0.1"))

    head = gateway.upstream.received[0].partition(b"\r\n\r\n")[0].decode()
    first, *headers = head.split("\r\n")
    assert first == "POST /v2/index.php HTTP/1.1"
    assert sorted(header.partition(":")[0].lower() for header in headers) == [
        "content-length",
        "content-type",
        "host",
        "x-request-id",
    ]
    assert "content-type: application/json" in [header.lower() for header in headers]


async def test_the_gateway_sets_the_same_request_id_on_both_sides(gateway: Running) -> None:
    reply = await gateway.send(raw_report(SAMPLE, "X-Request-Id: theirs"))

    sent = gateway.upstream.received[0].decode()
    assert f"\r\nX-Request-Id: {reply.header('x-request-id')}\r\n" in sent
    assert "theirs" not in sent


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(SAMPLE.encode())),
        ("x-gzip", gzip.compress(SAMPLE.encode())),
        ("GZIP", gzip.compress(SAMPLE[:50].encode()) + gzip.compress(SAMPLE[50:].encode())),
        ("deflate", zlib.compress(SAMPLE.encode())),
        ("deflate", zlib.compress(SAMPLE.encode(), wbits=-15)),
        ("identity", SAMPLE.encode()),
    ],
    ids=["gzip", "x-gzip", "two members", "deflate", "bare deflate", "identity"],
)
async def test_a_compressed_report_is_read(gateway: Running, encoding: str, body: bytes) -> None:
    reply = await gateway.send(raw_report(body, f"Content-Encoding: {encoding}"))

    assert reply.status == 200
    assert gateway.sent[0]["Data"] == SAMPLE_SENT["Data"]


@pytest.mark.parametrize(
    "number", ["9007199254740993", "18446744073709551615", "-9223372036854775808", "0.1", "1e-7", "5e-324", "-0.0"]
)
async def test_a_value_arrives_as_sent(gateway: Running, number: str) -> None:
    reply = await gateway.send(raw_report(datum(value=7).replace("7", number)))

    [raw] = gateway.upstream.received
    assert reply.status == 200
    assert f'"value":{number}}}'.encode() in raw


@pytest.mark.parametrize(
    "target", [TARGET + "?x=1", "http://somewhere.else" + TARGET, "http://somewhere.else:8080" + TARGET + "?"]
)
async def test_a_route_is_found_by_its_path_alone(gateway: Running, target: str) -> None:
    assert (await gateway.send(raw_report(target=target))).status == 200


async def test_a_chunked_report_is_read(gateway: Running) -> None:
    body = SAMPLE.encode()
    chunks = b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (10, body[:10], len(body) - 10, body[10:])

    reply = await gateway.send(CHUNKED_HEAD.encode() + chunks)

    assert reply.status == 200
    assert gateway.sent[0]["Data"] == SAMPLE_SENT["Data"]


async def test_expect_100_continue_is_answered(gateway: Running) -> None:
    head, _, body = raw_report(SAMPLE, "Expect: 100-continue").partition(b"\r\n\r\n")

    async with gateway.call() as caller:
        caller.send(head + b"\r\n\r\n")
        assert await caller.head() == "HTTP/1.1 100 Continue\r\n\r\n"
        caller.send(body)
        reply = await caller.parsed()

    assert reply.status == 200


async def test_pipelined_reports_are_answered_in_their_order(gateway: Running) -> None:
    async with gateway.call() as caller:
        caller.send(raw_report(datum(metricName="first")) + raw_report("{") + raw_report(datum(metricName="last")))
        replies = [await caller.parsed() for _ in range(3)]

    assert [reply.status for reply in replies] == [200, 503, 200]
    assert [sent["Data"][0]["metricName"] for sent in gateway.sent] == ["first", "last"]


async def test_reports_share_one_connection_to_the_upstream(gateway: Running) -> None:
    for _ in range(3):
        await gateway.send(raw_report())

    assert gateway.upstream.connections == 1


# Access.


@pytest.mark.parametrize(
    ("session", "text"),
    [
        (None, "missing header 'Authorization'"),
        ("", "Authorization type must be 'OAuth'"),
        ("OAuth", "Authorization type must be 'OAuth'"),
        ("Basic eDp5", "Authorization type must be 'OAuth'"),
        (SESSION, "Authorization type must be 'OAuth'"),
    ],
    ids=["missing", "empty", "no session", "another kind", "no kind"],
)
async def test_a_report_without_a_session_is_rejected(gateway: Running, session: str | None, text: str) -> None:
    reply = await gateway.send(raw_report(session=session))

    check_plain_text(reply, 400, text)
    assert gateway.upstream.received == []


@pytest.mark.parametrize("second", [f"Authorization: OAuth {SESSION}", "authorization: OAuth other"])
async def test_two_authorization_headers_are_rejected(gateway: Running, second: str) -> None:
    reply = await gateway.send(raw_report(SAMPLE, second))

    check_plain_text(reply, 400, "Authorization type must be 'OAuth'")
    assert gateway.upstream.received == []


@pytest.mark.parametrize("session", ["nope", SESSION[:-1], SESSION + "0", SESSION.upper()])
async def test_an_unknown_session_is_rejected(gateway: Running, session: str) -> None:
    reply = await gateway.send(raw_report(session=f"OAuth {session}"))

    check_rejected(reply, "ID.1001", "the secret or session is unknown or has expired", "session expired")
    assert gateway.upstream.received == []


async def test_an_unknown_session_is_rejected_before_the_body_is_parsed(gateway: Running) -> None:
    reply = await gateway.send(raw_report("{", session="OAuth nope"))

    assert reply.json["error"]["code"] == "ID.1001"


async def test_hide_unknown_keys_makes_an_unknown_session_look_wrong() -> None:
    async with running(
        change=lambda route: replace(route, source=replace(route.source, hide_unknown_keys=True))
    ) as gateway:
        reply = await gateway.send(raw_report(session="OAuth nope"))

    check_rejected(reply, "ID.1000", "the signature does not match", "Authentication failed")
    assert gateway.upstream.received == []


# Rejected reports.


@pytest.mark.parametrize(
    ("body", "details"),
    [
        ("", "the body is empty, and JSON is expected"),
        ("{", "the body is not JSON: unexpected end of data at line 1 column 2"),
        (b'{"a": "\xff"}', None),
        ("[" * 65 + "]" * 65, "the body is not JSON: nested deeper than 64 levels"),
        ("null", "params.data is missing"),
        ("5", "params.data is missing"),
        ("[]", "params.data is missing"),
        ("{}", "params.data is missing"),
        ('{"params": null}', "params.data is missing"),
        ('{"params": {}}', "params.data is missing"),
        ('{"params": 5}', "params.data is missing"),
        ('{"params": []}', "params.data is missing"),
        ('{"params": {"namespace": "n", "data": null}}', "params.data is missing"),
        ('{"params": {"namespace": "n", "data": []}}', "params.data is empty"),
        ('{"params": {"namespace": "n", "data": {}}}', "params.data is not a list"),
        ('{"params": {"namespace": "n", "data": "[]"}}', "params.data is not a list"),
        ('{"params": {"namespace": "n", "data": [null]}}', "item 0: metricName is missing"),
        ('{"params": {"namespace": "n", "data": [5]}}', "item 0: metricName is missing"),
    ],
    ids=[
        "no body",
        "broken JSON",
        "not UTF-8",
        "deep",
        "null",
        "a number",
        "a list",
        "params missing",
        "params null",
        "params empty",
        "params a number",
        "params a list",
        "data null",
        "data empty",
        "data a map",
        "data text",
        "datum null",
        "datum a number",
    ],
)
async def test_a_report_of_another_shape_is_rejected(gateway: Running, body: str | bytes, details: str | None) -> None:
    reply = await gateway.send(raw_report(body))

    check_rejected(reply, "SYS.1007", details or reply.json["error"]["details"])
    assert gateway.upstream.received == []


@pytest.mark.parametrize(
    ("body", "details"),
    [
        (datum(metricName=None), "item 0: metricName is missing"),
        (datum(metricName=""), "item 0: metricName is missing"),
        (datum(metricName=5), "item 0: metricName: 5 is not text"),
        (datum(value=None), "item 0: value is missing"),
        (datum(value=True), "item 0: value: true is not a finite number"),
        (datum(value={}), "item 0: value: a map is not a finite number"),
        (datum(value="NaN"), "item 0: value: 'NaN' is not a number"),
        (datum(value="1e400"), "item 0: value: '1e400' is not a finite number"),
        (datum(value=2**64), "item 0: value: 18446744073709551616 is not between -2^63 and 2^64-1"),
        (datum(value=-(2**63) - 1), "item 0: value: -9223372036854775809 is not between -2^63 and 2^64-1"),
        (datum(labels=5), "item 0: labels: 5 is not a map"),
        (datum(labels={"a": {}}), "item 0: labels: 'a' is a map, not text"),
        (datum(labels=None), "item 0: the target cannot hold it: attributes is missing"),
        (datum(labels={}), "item 0: the target cannot hold it: attributes is missing"),
        (datum(time=1), None),
        (datum().replace('"n"', "null"), "item 0: namespace is missing"),
        (datum().replace('"n"', '""'), "item 0: namespace is missing"),
        (datum().replace('"n"', "5"), "item 0: params.namespace: 5 is not text"),
        (datum().replace('"n"', '"ZStack/VM"'), "item 0: namespace 'ZStack/VM' is not of the form (?!ZStack).+"),
        (datum().replace('"n"', f'"{"n" * 256}"'), "item 0: namespace is longer than 255 characters"),
    ],
    ids=[
        "metricName missing",
        "metricName empty",
        "metricName a number",
        "value missing",
        "value true",
        "value a map",
        "NaN as text",
        "1e400 as text",
        "2**64",
        "under -2**63",
        "labels a number",
        "a label a map",
        "labels missing",
        "labels empty",
        "too old",
        "namespace null",
        "namespace empty",
        "namespace a number",
        "namespace reserved",
        "namespace long",
    ],
)
async def test_a_bad_datum_rejects_its_report(gateway: Running, body: str, details: str | None) -> None:
    reply = await gateway.send(raw_report(body))

    check_rejected(reply, "SYS.1007", details or reply.json["error"]["details"])
    assert gateway.upstream.received == []


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "01", "1.", "0x1", "9" * 5000])
async def test_a_number_outside_the_range_of_a_double_is_rejected(gateway: Running, number: str) -> None:
    reply = await gateway.send(raw_report(datum(value=7).replace("7", number)))

    check_rejected(reply, "SYS.1007", reply.json["error"]["details"])
    assert gateway.upstream.received == []


async def test_one_bad_datum_among_good_ones_sends_nothing(gateway: Running) -> None:
    good = {"metricName": "m", "value": 1, "labels": {"a": "b"}}
    data = [good, good | {"value": "x"}, good, good | {"metricName": None}]

    reply = await gateway.send(raw_report(json.dumps({"params": {"namespace": "n", "data": data}})))

    check_rejected(reply, "SYS.1007", "item 1: value: 'x' is not a number (2 items are rejected)")
    assert gateway.upstream.received == []


@pytest.mark.parametrize(
    ("body", "encoding", "details"),
    [
        (b" " * 2 * 2**20, "identity", "the body is larger than 1048576 bytes"),
        (gzip.compress(bytes(9 * 2**20)), "gzip", "the inflated body is larger than 8388608 bytes"),
        (zlib.compress(bytes(9 * 2**20)), "deflate", "the inflated body is larger than 8388608 bytes"),
        (gzip.compress(SAMPLE.encode())[:-9], "gzip", "the body is not gzip"),
        (SAMPLE.encode(), "gzip", "the body is not gzip"),
        (gzip.compress(b"") * 20, "gzip", "the body is not gzip"),
    ],
    ids=["2 MiB", "gzip bomb", "deflate bomb", "gzip cut short", "no gzip", "many members"],
)
async def test_a_body_too_large_or_damaged_is_rejected(
    gateway: Running, body: bytes, encoding: str, details: str
) -> None:
    reply = await gateway.send(raw_report(body, f"Content-Encoding: {encoding}"))

    check_rejected(reply, "SYS.1007", details)
    assert gateway.upstream.received == []


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("Content-Encoding: br", "Content-Encoding 'br' is not known; gzip and deflate are"),
        ("Content-Encoding: gzip, gzip", "more than one Content-Encoding"),
        ("X-Job-UUID: 1-2", "'X-Job-UUID' must be 32 hex digits"),
        ("X-Large: " + "x" * 70_000, "the head is larger than 65536 bytes"),
    ],
    ids=["unknown encoding", "two encodings", "job uuid", "oversized"],
)
async def test_a_bad_header_is_rejected(gateway: Running, header: str, text: str) -> None:
    reply = await gateway.send(raw_report(SAMPLE, header))

    check_plain_text(reply, 400, text)
    assert gateway.upstream.received == []


async def test_garbage_chunks_with_the_head_are_rejected_in_dialect(gateway: Running) -> None:
    reply = await gateway.send(CHUNKED_HEAD.encode() + b"zz\r\n")

    check_rejected(reply, "SYS.1007", "the body ended early or is not validly chunked")
    assert reply.header("connection") == "close"
    assert gateway.upstream.received == []


async def test_garbage_between_chunks_is_rejected_in_dialect(gateway: Running) -> None:
    async with gateway.call() as caller:
        caller.send(CHUNKED_HEAD + "3\r\nabc\r\n")
        await until_counted(gateway, 1, "gateway_verified_bodies")
        caller.send("zz\r\n")
        reply = await caller.parsed()

    check_rejected(reply, "SYS.1007", "the body ended early or is not validly chunked")
    assert reply.header("connection") == "close"
    assert gateway.upstream.received == []


@pytest.mark.parametrize(
    "raw",
    [
        raw_report(SAMPLE, "X-Large: " + "x" * 140_000),
        raw_report(SAMPLE, "Content-Length: 1"),
        raw_report(SAMPLE, "Host: other"),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=["huge header", "two lengths", "two hosts", "TLS"],
)
async def test_invalid_http_gets_a_short_json_400(gateway: Running, raw: bytes) -> None:
    reply = await gateway.send(raw)

    check_short_json(reply, 400, "NOT_PARSED")
    assert gateway.upstream.received == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_another_method_is_rejected_in_dialect(gateway: Running, method: str) -> None:
    reply = await gateway.send(raw_report(method=method))

    check_plain_text(reply, 405, f"{method} is not a method of this call")
    assert reply.header("allow") == "POST"
    assert gateway.upstream.received == []


@pytest.mark.parametrize(
    "target",
    ["/", "/zstack/v1/zwatch/metricsX", TARGET + "/", "/" + TARGET, TARGET.upper(), TARGET.replace("v1", "%761")],
)
async def test_another_path_gets_a_short_json_404(gateway: Running, target: str) -> None:
    reply = await gateway.send(raw_report(target=target))

    check_short_json(reply, 404, "UNKNOWN_CALL")
    assert reply.header("x-request-id") == reply.json["request_id"]
    assert gateway.upstream.received == []


async def test_a_slow_head_gets_a_short_json_408() -> None:
    async with running(limits=HttpLimits(head_timeout_s=0.1)) as gateway:
        reply = await gateway.send(raw_report()[:40])

    check_short_json(reply, 408, "TOO_SLOW")
    assert gateway.upstream.received == []


async def test_a_slow_body_is_rejected_in_dialect() -> None:
    async with running(
        change=lambda route: replace(route, source=replace(route.source, read_timeout_s=0.1))
    ) as gateway:
        reply = await gateway.send(raw_report()[:-1])

    check_rejected(reply, "SYS.1001", "the body took longer than 0.1 s", "A message or a operation timeout")
    assert reply.header("connection") == "close"
    assert gateway.upstream.received == []


async def test_too_many_concurrent_reports_are_rejected_in_dialect() -> None:
    go = asyncio.Event()

    async def takes_later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        await says(0)(reader, writer)

    async with running(takes_later, max_in_flight=1) as gateway, gateway.call() as first:
        first.send(raw_report())
        await until_counted(gateway, 1, "gateway_reports_in_flight")
        rejected = await gateway.send(raw_report())
        go.set()
        taken = await first.parsed()
        again = await gateway.send(raw_report())

    check_rejected(rejected, "SYS.1006", "too many reports at once", "An operation failed")
    assert rejected.header("retry-after") == "1"
    assert (taken.status, again.status) == (200, 200)
    assert len(gateway.upstream.received) == 2


async def test_slow_bodies_without_a_key_block_no_route() -> None:
    async with running(max_in_flight=1) as gateway, AsyncExitStack() as stack:
        for _ in range(20):
            slow = await stack.enter_async_context(gateway.call())
            slow.send(raw_report(session="OAuth unknown")[:-1])
        await asyncio.sleep(0.1)
        replies = [await gateway.send(raw_report()) for _ in range(3)]

    assert [reply.status for reply in replies] == [200, 200, 200]


async def test_too_many_connections_are_rejected_in_dialect() -> None:
    async with running(limits=HttpLimits(max_connections=1)) as gateway, gateway.call() as first:
        first.send(raw_report())
        await first.parsed()
        reply = await gateway.send(raw_report())

    check_rejected(reply, "SYS.1006", "too many connections", "An operation failed")
    assert (reply.header("retry-after"), reply.header("connection")) == ("1", "close")
    assert len(gateway.upstream.received) == 1


async def until_counted(gateway: Running, value: float, name: str, **labels: str) -> None:
    """Wait until a metric has a value."""
    async with asyncio.timeout(LONG_S):
        while await gateway.counted(name, **labels) != value:
            await asyncio.sleep(0.01)


# Upstream errors.

FAILED, HTTP_ERROR, INTERNAL = "An operation failed", "HTTP error", "An internal error happened in system"


@pytest.mark.parametrize(
    ("behaviour", "code", "words", "details"),
    [
        (says(1011, "authentication failed"), "SYS.1006", FAILED, "authentication failed"),
        (says(1006, "too frequent"), "SYS.1006", FAILED, "too frequent"),
        (says(1013, "invalid"), "SYS.1007", INVALID, "invalid"),
        (says(1003, "internal"), "SYS.1015", HTTP_ERROR, "internal"),
        (says(4242, "odd"), "SYS.1000", INTERNAL, "odd"),
        (answers(500, b"oops"), "SYS.1000", INTERNAL, "the upstream answered with status 500"),
        (answers(502, b"oops"), "SYS.1015", HTTP_ERROR, "the upstream answered with status 502"),
        (answers(200, b"<html>"), "SYS.1000", INTERNAL, "the answer was not understood (status 200)"),
        (answers(200), "SYS.1000", INTERNAL, "the answer was not understood (status 200)"),
        (answers(302, b"", (("Location", "/v2/other"),)), "SYS.1000", INTERNAL, None),
        (nothing, "SYS.1015", HTTP_ERROR, "the upstream: closed the connection without an answer"),
        (resets, "SYS.1015", HTTP_ERROR, None),
        (half_answers, "SYS.1000", INTERNAL, "the upstream: the answer broke off"),
        (garbage, "SYS.1000", INTERNAL, "the upstream: the answer is not HTTP"),
        (giant, "SYS.1000", INTERNAL, "the upstream: the answer is over 1048576 bytes"),
    ],
    ids=[
        "1011",
        "1006",
        "1013",
        "1003",
        "unknown code",
        "500",
        "502",
        "HTML",
        "no body",
        "redirect",
        "no answer",
        "reset",
        "half an answer",
        "not HTTP",
        "20 MiB",
    ],
)
async def test_an_upstream_error_is_reported_in_dialect(
    behaviour: Behaviour, code: str, words: str, details: str | None
) -> None:
    async with running(behaviour) as gateway:
        reply = await gateway.send(raw_report())

    check_rejected(reply, code, details or reply.json["error"]["details"], words)
    assert "127.0.0.1" not in reply.text
    assert len(gateway.upstream.received) == 1


@pytest.mark.parametrize("behaviour", [hangs, drips])
async def test_a_slow_upstream_is_reported_in_dialect(behaviour: Behaviour) -> None:
    async with running(behaviour, change=with_deadline(0.2)) as gateway:
        reply = await gateway.send(raw_report())

    check_rejected(reply, "SYS.1001", "the upstream: no answer within 0.2 s", "A message or a operation timeout")
    assert len(gateway.upstream.received) == 1


async def test_the_address_of_an_upstream_that_is_down_is_logged_and_not_in_the_reply() -> None:
    address = f"127.0.0.1:{free_port()}"
    async with running(environ=ENVIRON | {"TENCENT_URL": f"http://{address}"}) as gateway:
        reply = await gateway.send(raw_report())
        [logged] = (await gateway.probe("/api/reports/rejected")).json["rejected"]

    check_rejected(reply, "SYS.1015", "the upstream: connection refused", "HTTP error")
    assert logged["message"] == f"{address}: connection refused"


async def test_a_rejection_by_the_upstream_does_not_affect_the_next_report() -> None:
    async with running(in_turn(says(1006), resets, says(0))) as gateway, gateway.call() as caller:
        caller.send(raw_report() * 3)
        replies = [await caller.parsed() for _ in range(3)]

    assert [reply.status for reply in replies] == [503, 503, 200]


async def test_an_upstream_message_is_truncated_and_masked() -> None:
    leak = f"bad signature made with {KEY} for {SESSION}: "
    async with running(says(1013, leak + "x" * 600)) as gateway:
        reply = await gateway.send(raw_report())

    details = reply.json["error"]["details"]
    assert re.fullmatch(r"bad signature made with \*\*\* for \*\*\*: x{300,}", details)
    assert len(details) <= 500


async def test_a_secret_at_the_truncation_is_masked() -> None:
    async with running(says(1013, "x" * 490 + KEY)) as gateway:
        reply = await gateway.send(raw_report())

    assert reply.json["error"]["details"] == "x" * 490 + "***"


async def test_an_upstream_message_cannot_add_headers() -> None:
    limited = answers(429, b"\r\nSet-Cookie: a=b", (("Retry-After", "7"), ("Set-Cookie", "a=b"), ("X-Other", "1")))
    async with running(limited) as gateway:
        reply = await gateway.send(raw_report())

    check_common(reply, "application/json")
    assert reply.header("retry-after") == "7"


async def test_a_reporter_that_disconnects_does_not_cancel_its_delivery() -> None:
    arrived, answer = asyncio.Event(), asyncio.Event()

    async def waits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await answer.wait()
        await says(0)(reader, writer)

    async with running(waits) as gateway:
        async with gateway.call() as caller:
            caller.send(raw_report())
            await arrived.wait()
            caller.writer.transport.abort()
        await asyncio.sleep(0.02)
        answer.set()
        await until_counted(gateway, 1, "gateway_reports_total", code="OK")


async def test_an_incomplete_report_sends_nothing(gateway: Running) -> None:
    async with gateway.call() as caller:
        caller.send(raw_report()[:-1])
        await until_counted(gateway, 1, "gateway_verified_bodies")
        caller.writer.transport.abort()
    await until_counted(gateway, 1, "gateway_reports_total", reason="NOT_PARSED")

    assert gateway.upstream.received == []


# Metrics.


async def test_metrics_count_reports_points_and_calls() -> None:
    route = "zstack-to-tencent"
    async with running(in_turn(says(0), says(1006))) as gateway:
        await gateway.send(raw_report())
        await gateway.send(raw_report())
        await gateway.send(raw_report("{"))

        count = gateway.counted
        assert await count("gateway_reports_total", route=route, code="OK", reason="") == 1
        assert await count("gateway_reports_total", code="RESOURCE_EXHAUSTED", reason="THROTTLED") == 1
        assert await count("gateway_reports_total", code="INVALID_ARGUMENT", reason="NOT_PARSED") == 1
        assert await count("gateway_points_total", route=route, result="accepted") == 1
        assert await count("gateway_points_total", route=route, result="rejected") == 1
        assert await count("gateway_report_seconds_count", route=route) == 3
        assert await count("gateway_upstream_seconds_count", route=route) == 2
        assert await count("gateway_reports_in_flight", route=route) == 0
