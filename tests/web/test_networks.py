"""Networks, public URLs, and the likely cause of a rejected signature, over real sockets."""

import hmac
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.web.ingress import KEPT_REJECTED
from tests.support.gateway import running

RECIPE = """
recipe: signs-url
slots:
  key: {kind: key}
  signature: {kind: signature, of: "{method} {url} {body}", hmac: sha256, key: "{secret}", as: hex}
carry: [{header: x-key, value: "{key}"}, {header: x-signature, value: "{signature}"}]
"""
PROVIDER = """
provider: acme
receive:
  request: {method: POST, path: /report, body: json}
  verify: [signs-url]
  each: {item: body.points}
  point: {metric: item.m, value: item.v, attributes: item.a}
  replies:
    ok: {json: {taken: accepted}}
    error: {status: 400, json: {acme: error.code, says: message}}
    errors:
      NOT_ALLOWED: {status: 403, code: GoAway}
      BAD_SIGNATURE: {status: 401, code: BadSignature}
      default: {code: Other}
"""
ROUTE = """
route: in
receive: {{provider: acme, credentials: [{{key: K, secret: s}}]{options}}}
send: {{provider: tencent-receiver, url: "${{UPSTREAM}}", credential: {{key: id, secret: key}}, given: {{region: sh}}}}
points: {{set: {{namespace: "'n'"}}}}
"""
BODY = '{"points":[{"m":"cpu","v":1,"a":{"b":"c"}}]}'


def routes(tmp_path: Path, options: str = "") -> Path:
    for name, text in {"recipe": RECIPE, "provider": PROVIDER, "route": ROUTE.format(options=options)}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def report(url: str = "http://h/report", *, sent_to: str = "h", body: str = BODY) -> bytes:
    """Return a report that was signed for a URL, and reaches the gateway under a host and the body `BODY`."""
    signature = hmac.new(b"s", f"POST {url} {body}".encode(), "sha256").hexdigest()
    head = f"POST /report HTTP/1.1\r\nHost: {sent_to}\r\nX-Key: K\r\nX-Signature: {signature}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}".encode()


@pytest.mark.parametrize(
    "networks",
    ["", ", from: [127.0.0.1]", ", from: [10.0.0.0/8, 127.0.0.0/8]", ', from: ["::/0", 0.0.0.0/0]'],
    ids=["none named", "the address", "one of two networks", "all"],
)
async def test_a_peer_within_the_networks_is_accepted(tmp_path: Path, networks: str) -> None:
    async with running(routes=routes(tmp_path, networks)) as gateway:
        reply = await gateway.send(report())

    assert (reply.status, reply.json) == (200, {"taken": 1})


@pytest.mark.parametrize("networks", ["10.0.0.0/8", "127.0.0.2", "::/0"], ids=["another", "a neighbour", "IPv6 alone"])
async def test_a_peer_outside_the_networks_is_rejected_in_dialect(tmp_path: Path, networks: str) -> None:
    async with running(routes=routes(tmp_path, f', from: ["{networks}"]')) as gateway:
        reply = await gateway.send(report())

    assert reply.status == 403
    assert reply.json == {"acme": "GoAway", "says": "reports may not come from this address"}
    assert gateway.upstream.received == []


PUBLIC = ', public_url: "https://metrics.example/proxy"'


@pytest.mark.parametrize("host", ["10.0.0.7:8080", "metrics.example"], ids=["changed by a proxy", "kept by it"])
async def test_the_public_url_is_the_signed_one(tmp_path: Path, host: str) -> None:
    async with running(routes=routes(tmp_path, PUBLIC)) as gateway:
        reply = await gateway.send(report("https://metrics.example/proxy/report", sent_to=host))

    assert reply.status == 200


@pytest.mark.parametrize(
    ("options", "url"),
    [
        (PUBLIC, "http://10.0.0.7:8080/report"),
        (PUBLIC, "https://metrics.example/report"),
        ("", "https://metrics.example/proxy/report"),
    ],
    ids=[
        "the one behind the proxy",
        "the public one without its path",
        "the public one, which the route does not name",
    ],
)
async def test_a_signature_over_another_url_is_rejected(tmp_path: Path, options: str, url: str) -> None:
    async with running(routes=routes(tmp_path, options)) as gateway:
        reply = await gateway.send(report(url, sent_to="10.0.0.7:8080"))

    assert (reply.status, reply.json["acme"]) == (401, "BadSignature")


async def logged(tmp_path: Path, *reports: bytes) -> list[Mapping[str, Any]]:
    """Return the lines that these reports left, sent one after the other."""
    async with running(routes=routes(tmp_path)) as gateway:
        with capture_logs() as lines:
            for each in reports:
                await gateway.send(each)
    return [line for line in lines if line["event"] == "report"]


async def test_the_log_names_the_likely_cause_and_the_reply_does_not(tmp_path: Path) -> None:
    async with running(routes=routes(tmp_path)) as gateway:
        with capture_logs() as lines:
            reply = await gateway.send(report(body=""))

    [line] = [line for line in lines if line["event"] == "report"]
    assert (line["reason"], line["cause"]) == ("BAD_SIGNATURE", "the client signed an empty body")
    assert reply.json == {"acme": "BadSignature", "says": "the signature does not match"}


async def test_the_likely_cause_is_logged_at_most_once_per_second(tmp_path: Path) -> None:
    lines = await logged(tmp_path, report(body=""), report(body=""), report("https://h/report"))

    assert [line["reason"] for line in lines] == ["BAD_SIGNATURE"] * 3
    assert ["cause" in line for line in lines] == [True, False, False]


async def test_the_admin_api_lists_the_last_rejected_reports_newest_first(tmp_path: Path) -> None:
    async with running(routes=routes(tmp_path)) as gateway:
        replies = [await gateway.send(each) for each in (report(body=""), report(), report("https://h/report"))]
        listed = (await gateway.probe("/api/reports/rejected")).json["rejected"]

    assert [reply.status for reply in replies] == [401, 200, 401]
    assert [each["request_id"] for each in listed] == [
        replies[2].header("x-request-id"),
        replies[0].header("x-request-id"),
    ]
    assert [each.get("cause") for each in listed] == [None, "the client signed an empty body"]
    assert listed[0]["time"] >= listed[1]["time"] > 1_700_000_000


async def test_the_admin_api_keeps_a_hundred_rejected_reports(tmp_path: Path) -> None:
    async with running(routes=routes(tmp_path)) as gateway:
        started = time.monotonic()
        for _ in range(KEPT_REJECTED + 1):
            await gateway.send(report(body=""))
        took_s = time.monotonic() - started
        listed = (await gateway.probe("/api/reports/rejected")).json["rejected"]

    assert len(listed) == KEPT_REJECTED
    assert sum("cause" in each for each in listed) <= took_s


async def test_an_accepted_report_has_no_cause(tmp_path: Path) -> None:
    [line] = await logged(tmp_path, report())

    assert line["code"] == "OK"
    assert "cause" not in line
