"""gateway sink."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.app import Gateway, Settings
from gateway.commands.report import send_report
from gateway.commands.roles.vendor import Vendor, vendor_route
from gateway.commands.sink import rejection_of
from gateway.core.http.request import Secret
from gateway.core.http.text import format_request, parse_request
from gateway.core.outcome.outcome import Code
from gateway.core.points.decode import Item
from gateway.core.points.point import DataPoint
from gateway.core.recipe.keyring import Credential
from gateway.core.vendor.routing import make_snapshot
from gateway.logs import forwarding
from gateway.specs.load import load
from tests.support.caller import Reply, exchange
from tests.support.pairs import listening
from tests.support.processes import command
from tests.support.terminal import Ended, run
from tests.support.upstream import Upstream, hangs

LOGS_IN = """
route: logs-in
receive: {provider: zstack, credentials: none, from: [127.0.0.1/32]}
send: {provider: zstack, url: "${URL}", credential: {key: admin, secret: "${POST_KEY}", recipe: zstack-session}}
"""
POINT = Item(0, None, DataPoint("m", time.time_ns(), namespace="n", value=1))

SINK = ("sink", "tencent-receiver", "--listen", "127.0.0.1:0")
REPORT = ("report", "tencent-receiver", "--given", "region=sh", "--key", "an-id", "--secret", "env:POST_KEY")

IMAGE_SINK = ("sink", "scp-image", "--listen", "127.0.0.1:0")
IMAGE_PATH = "/v1/metrics/data/download/image"
IMAGE = b"\x89PNG\r\n\x1a\n\x00" + bytes(range(256)) * 1000
METRIC = {"name": "cpu", "namespace_name": "vm", "dimensions": []}
CALL = json.dumps({"start": 1, "end": 2, "period": 60, "statistic_type": "AVG", "metrics": [METRIC]}).encode()


async def report(address: str) -> Ended:
    return await asyncio.to_thread(run, *REPORT, "--url", f"http://{address}")


async def test_every_sender_is_accepted_without_a_secret_and_sigterm_exits_0() -> None:
    async with command(*SINK) as sink:
        reported = await report((await sink.event("listening"))["address"])
        line = await sink.line()
        sink.signal(signal.SIGTERM)
        code, _ = await sink.end()

    assert (code, reported.code) == (0, 0)
    assert '"metric":"gateway.test"' in line


@asynccontextmanager
async def playing(
    provider: str, credential: Credential | None = None, *, answer: str | None = None
) -> AsyncIterator[tuple[str, list[Any]]]:
    """Play a vendor in this process as `gateway sink` does; yield its address and the list of what it takes."""
    taken: list[Any] = []
    settings = Settings(listen="127.0.0.1:0", admin=None, grace_s=0)
    route = vendor_route(load(None, {}, only=()).providers[provider], credential, {})
    with forwarding(lambda event: None):
        vendor = Vendor(taken.extend, rejection_of(answer))
        async with listening(Gateway(make_snapshot([route]), settings, delivery=vendor)) as address:
            yield address, taken


def credential(key: str) -> Credential:
    return Credential(Secret(os.environ["POST_KEY"]), key)


@pytest.mark.parametrize("key", [None, "an-id"], ids=["anyone", "verified"])
async def test_declaration_before_a_report_is_answered(key: str | None) -> None:
    reporting = ("report", "scp", "--key", "an-id", "--secret", "env:POST_KEY")
    async with playing("scp", key and credential(key)) as (address, taken):
        reported = await asyncio.to_thread(run, *reporting, "--url", f"http://{address}")

    assert (reported.code, reported.errors) == (0, "")
    assert [point["metric"] for point in taken] == ["gateway.test"]


@pytest.mark.parametrize("key", [None, "admin"], ids=["anyone", "an account"])
async def test_login_gets_a_session_that_can_report(key: str | None, tmp_path: Path) -> None:
    (tmp_path / "route.yaml").write_text(LOGS_IN)
    async with playing("zstack", key and credential(key)) as (address, taken):
        specs = load(tmp_path, {"POST_KEY": os.environ["POST_KEY"], "URL": f"http://{address}"})
        outcome = await send_report(specs.routes["logs-in"], [POINT])

    assert (outcome.code, outcome.message) == (Code.OK, "")
    assert [point["metric"] for point in taken] == ["m"]


async def test_partly_accepted_report_gets_a_partial_reply() -> None:
    item = {"namespace": "n", "metric": "m", "dimensions": {"h": "a"}, "type": 1, "values": {"value": 1}}
    body = json.dumps([{**item, "timestamp": 17}, {**item, "timestamp": int(time.time())}])
    async with playing("jdcloud") as (address, taken):
        head = f"POST /v1/customMetrics HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n"
        reply = await exchange(address, head.encode() + body.encode())

    assert reply.status == 400
    assert b'"errDetail":"Time value only allowed' in reply.body
    assert [point["metric"] for point in taken] == ["m"]


async def test_wrong_secret_gets_the_vendors_reply() -> None:
    async with playing("tencent-receiver", Credential(Secret("another-secret"), "an-id")) as (address, taken):
        reported = await report(address)

    assert taken == []
    assert (reported.code, reported.output) == (1, "UNAVAILABLE UPSTREAM_AUTH: the signature does not match\n")


@pytest.mark.parametrize(
    ("answer", "said"),
    [("THROTTLED", "RESOURCE_EXHAUSTED THROTTLED"), ("unavailable", "UNAVAILABLE UPSTREAM_DOWN"), ("OK", "OK")],
)
async def test_answer_option_rejects_every_report(answer: str, said: str) -> None:
    async with playing("tencent-receiver", answer=answer) as (address, _):
        reported = await report(address)

    assert reported.output.partition(":")[0] == said


# Relays.


async def asked(address: str, body: bytes, *options: str) -> Reply:
    """Sign a call of a relay, and send it to the sink."""
    call = f"POST {IMAGE_PATH} HTTP/1.1\nHost: {address}\nContent-Type: application/json\n\n".encode() + body
    arguments = ("sign", "scp", "--request", "-", "--key", "an-id", "--secret", "env:POST_KEY", *options)
    signed = await asyncio.to_thread(run, *arguments, stdin=call)
    return await exchange(address, format_request(parse_request(signed.output.encode())[0]))


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("image.png", "image/png"),
        ("image", "application/octet-stream"),
    ],
    ids=["guessed", "unknown"],
)
async def test_a_relay_is_answered_with_a_file(tmp_path: Path, name: str, media_type: str) -> None:
    (tmp_path / name).write_bytes(IMAGE)
    async with command(*IMAGE_SINK, "--file", str(tmp_path / name)) as sink:
        reply = await asked((await sink.event("listening"))["address"], CALL)
        line = await sink.line()

    assert (reply.status, reply.header("content-type"), reply.body) == (200, media_type, IMAGE)
    assert json.loads(line) == json.loads(CALL)


async def test_rejected_relay_call_is_not_printed() -> None:
    async with playing("scp-image", Credential(Secret("another"), "an-id")) as (address, taken):
        reply = await asked(address, CALL)

    assert (reply.status, reply.json) == (401, {"errors": [{"detail": "the signature does not match"}]})
    assert taken == []


async def test_relay_without_a_file_gets_an_empty_answer_or_a_rejection() -> None:
    async with playing("scp-image") as (address, _):
        empty = await asked(address, CALL)
    async with playing("scp-image", answer="THROTTLED") as (address, _):
        rejected = await asked(address, CALL)

    assert (empty.status, empty.body) == (200, b"")
    assert rejected.status == 429


async def test_closed_output_ends_the_sink() -> None:
    async with command(*SINK) as sink:
        address = (await sink.event("listening"))["address"]
        sink.close_output()
        reported = await report(address)
        code, _ = await sink.end()

    assert (code, reported.code) == (0, 0)
    assert [line for line in sink.log if "Traceback" in line or "Exception" in line] == []


async def test_a_taken_port_is_one_line() -> None:
    async with Upstream(hangs) as taken:
        ended = await asyncio.to_thread(run, "sink", "zstack", "--listen", taken.host)

    assert (ended.code, ended.complaint) == (1, f"gateway: cannot listen on {taken.host}: address already in use")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["zstak"], 1, "no provider is named 'zstak'; did you mean 'zstack'?"),
        (["zstack", "--listen", "here"], 2, "--listen: 'here' is not an address; write host:port, like "),
        (["zstack", "--listen", "127.0.0.1:99999"], 2, "--listen: '127.0.0.1:99999' has a port above 65535"),
        (["zstack", "--answer", "UNAVAILABEL"], 2, "--answer: 'UNAVAILABEL' is no code and no reason; did you mean "),
        (["zstack", "--key", "k"], 2, "--secret is missing; write env:NAME or file:PATH"),
        (["tencent-receiver", "--secret", "env:POST_KEY"], 2, "tencent-receiver has a key id: give --key"),
        (["zstack", "--given", "region=sh"], 2, "--given: nothing here reads 'region'; no value is needed"),
        (["zstack", "--routes", "/nope"], 1, "there is no folder /nope"),
        (["zstack", "--tls-key", "key.pem"], 2, "--tls-key: its certificate is missing; give --tls-cert too"),
        (["zstack", "--tls-cert", "/nope"], 1, "--tls-cert: /nope cannot be read: no such file or directory"),
        (["scp-image", "--file", "/nope"], 1, "--file: /nope cannot be read: no such file"),
        (["zstack", "--file", "/dev/null"], 2, "--file: zstack is no relay: its reply to a report is in its spec"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(arguments: list[str], code: int, said: str) -> None:
    ended = run("sink", *arguments)

    assert (ended.code, ended.output) == (code, "")
    assert ended.complaint.startswith(f"gateway: {said}")
