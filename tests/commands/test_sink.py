"""gateway sink."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.commands.roles.reporter import outcomes
from gateway.core.http.text import format_request, parse_request
from gateway.core.outcome.outcome import Code
from gateway.core.points.decode import Item
from gateway.core.points.point import DataPoint
from gateway.specs.load import load
from tests.support.caller import Reply, exchange
from tests.support.processes import ROOT, Command, command
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

RULED = ("--routes", str(ROOT / "routes.d"), "--rules-of", "zstack-to-tencent")
IMAGE_SINK = ("sink", "scp-image", "--listen", "127.0.0.1:0")
IMAGE_PATH = "/v1/metrics/data/download/image"
IMAGE = b"\x89PNG\r\n\x1a\n\x00" + bytes(range(256)) * 1000
METRIC = {"name": "cpu", "namespace_name": "vm", "dimensions": []}
CALL = json.dumps({"start": 1, "end": 2, "period": 60, "statistic_type": "AVG", "metrics": [METRIC]}).encode()


async def report(address: str) -> Ended:
    return await asyncio.to_thread(run, *REPORT, "--url", f"http://{address}")


async def test_without_a_secret_whoever_reports_is_believed_and_sigterm_ends_with_0() -> None:
    async with command(*SINK) as sink:
        reported = await report((await sink.event("listening"))["address"])
        line = await sink.line()
        sink.signal(signal.SIGTERM)
        code, _ = await sink.end()

    assert (code, reported.code) == (0, 0)
    assert '"metric":"gateway.test"' in line


@pytest.mark.parametrize("options", [(), ("--key", "an-id", "--secret", "env:POST_KEY")], ids=["anyone", "verified"])
async def test_what_is_declared_before_it_is_reported_is_answered(options: tuple[str, ...]) -> None:
    environ = {"POST_KEY": os.environ["POST_KEY"]}
    reporting = ("report", "scp", "--key", "an-id", "--secret", "env:POST_KEY")
    async with command("sink", "scp", "--listen", "127.0.0.1:0", *options, environ=environ) as sink:
        address = (await sink.event("listening"))["address"]
        reported = await asyncio.to_thread(run, *reporting, "--url", f"http://{address}")
        sink.signal(signal.SIGTERM)
        _, output = await sink.end()

    assert (reported.code, reported.errors) == (0, "")
    assert '"metric":"gateway.test"' in output


@pytest.mark.parametrize("options", [(), ("--key", "admin", "--secret", "env:POST_KEY")], ids=["anyone", "an account"])
async def test_whoever_logs_in_first_is_given_a_session_that_reports(options: tuple[str, ...], tmp_path: Path) -> None:
    environ = {"POST_KEY": os.environ["POST_KEY"]}
    (tmp_path / "route.yaml").write_text(LOGS_IN)
    async with command("sink", "zstack", "--listen", "127.0.0.1:0", *options, environ=environ) as sink:
        url = f"http://{(await sink.event('listening'))['address']}"
        specs = load(tmp_path, environ | {"URL": url})
        (outcome,) = [each async for each in outcomes(specs.routes["logs-in"], [POINT])]
        printed = json.loads(await sink.line())

    assert (outcome.code, outcome.message) == (Code.OK, "")
    assert printed["metric"] == "m"


async def test_what_a_vendor_takes_in_part_is_answered_in_part() -> None:
    item = {"namespace": "n", "metric": "m", "dimensions": {"h": "a"}, "type": 1, "values": {"value": 1}}
    body = json.dumps([{**item, "timestamp": 17}, {**item, "timestamp": int(time.time())}])
    async with command("sink", "jdcloud", "--listen", "127.0.0.1:0") as sink:
        address = (await sink.event("listening"))["address"]
        head = f"POST /v1/customMetrics HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n"
        reply = await exchange(address, head.encode() + body.encode())
        sink.signal(signal.SIGTERM)
        _, output = await sink.end()

    assert reply.status == 400
    assert b'"errDetail":"Time value only allowed' in reply.body
    assert output.count('"metric":"m"') == 1


@pytest.mark.parametrize(("options", "code"), [((), 0), (("--rules-of", "logs-in"), 1)], ids=["usual", "stricter"])
async def test_data_points_are_held_to_the_rules_that_a_route_sends_by(
    options: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    stricter = LOGS_IN.replace("send: {", "send: {rules: {metric: {max_chars: 11}}, ")
    (tmp_path / "route.yaml").write_text(stricter)
    sinking = ("sink", "zstack", "--listen", "127.0.0.1:0", "--routes", str(tmp_path), *options)
    async with command(*sinking, environ={"URL": "http://127.0.0.1", "POST_KEY": "x"}) as sink:
        url = f"http://{(await sink.event('listening'))['address']}"
        reported = await asyncio.to_thread(run, "report", "zstack", "--secret", "env:POST_KEY", "--url", url)

    assert reported.code == code
    assert ("metric is longer than 11 characters" in reported.output) is bool(code)


def test_route_whose_rules_need_variables_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "route.yaml").write_text(LOGS_IN)

    ended = run("sink", "zstack", "--routes", str(tmp_path), "--rules-of", "logs-in")

    assert (ended.code, ended.complaint) == (1, "gateway: --rules-of: logs-in cannot be built without its variables")


async def test_another_secret_is_refused_in_the_vendors_words_and_nothing_is_printed() -> None:
    environ = {"OTHER": "another-secret"}
    async with command(*SINK, "--key", "an-id", "--secret", "env:OTHER", environ=environ) as sink:
        reported = await report((await sink.event("listening"))["address"])
        sink.signal(signal.SIGINT)
        code, output = await sink.end()

    assert (code, output) == (130, "")
    assert (reported.code, reported.output) == (1, "UNAVAILABLE UPSTREAM_AUTH: the signature does not match\n")


@pytest.mark.parametrize(
    ("answer", "said"),
    [("THROTTLED", "RESOURCE_EXHAUSTED THROTTLED"), ("unavailable", "UNAVAILABLE UPSTREAM_DOWN"), ("OK", "OK")],
)
async def test_it_answers_as_told(answer: str, said: str) -> None:
    async with command(*SINK, "--answer", answer) as sink:
        reported = await report((await sink.event("listening"))["address"])

    assert reported.output.partition(":")[0] == said


# Relays.


async def asked(sink: Command, body: bytes, *options: str) -> Reply:
    """Sign a call of a relay, and send it to the sink."""
    address = (await sink.event("listening"))["address"]
    call = f"POST {IMAGE_PATH} HTTP/1.1\nHost: {address}\nContent-Type: application/json\n\n".encode() + body
    arguments = ("sign", "scp", "--request", "-", "--key", "an-id", "--secret", "env:POST_KEY", *options)
    signed = await asyncio.to_thread(run, *arguments, stdin=call)
    return await exchange(address, format_request(parse_request(signed.output.encode())[0]))


@pytest.mark.parametrize(
    ("name", "more", "media_type"),
    [
        ("image.png", (), "image/png"),
        ("image", (), "application/octet-stream"),
        ("image.png", ("--type", "image/x-own"), "image/x-own"),
    ],
    ids=["guessed", "unknown", "stated"],
)
async def test_a_relay_is_answered_with_a_file(tmp_path: Path, name: str, more: tuple[str], media_type: str) -> None:
    (tmp_path / name).write_bytes(IMAGE)
    async with command(*IMAGE_SINK, "--file", str(tmp_path / name), *more) as sink:
        reply = await asked(sink, CALL)
        line = await sink.line()

    assert (reply.status, reply.header("content-type"), reply.body) == (200, media_type, IMAGE)
    assert json.loads(line) == json.loads(CALL)


async def test_a_relay_is_verified_and_what_is_refused_is_not_printed() -> None:
    async with command(*IMAGE_SINK, "--key", "an-id", "--secret", "env:KEY", environ={"KEY": "another"}) as sink:
        reply = await asked(sink, CALL)
        sink.signal(signal.SIGTERM)
        _, output = await sink.end()

    assert (reply.status, reply.json) == (401, {"errors": [{"detail": "the signature does not match"}]})
    assert output == ""


async def test_a_relay_without_a_file_is_answered_empty_or_as_told() -> None:
    async with command(*IMAGE_SINK) as sink:
        empty = await asked(sink, CALL)
    async with command(*IMAGE_SINK, "--answer", "THROTTLED") as sink:
        told = await asked(sink, CALL)

    assert (empty.status, empty.body) == (200, b"")
    assert told.status == 429


def test_it_ends_when_nobody_reads_what_it_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.pipe()
    arguments = [sys.executable, "-m", "gateway", *SINK, "--listen", "127.0.0.1:0"]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=theirs, stderr=subprocess.PIPE, text=True) as sink:
        os.close(theirs)
        os.close(ours)
        assert sink.stderr is not None
        address = sink.stderr.readline().partition('"address": "')[2].partition('"')[0]

        reported = run(*REPORT, "--url", f"http://{address}")
        _, log = sink.communicate(timeout=20)

    assert (sink.returncode, reported.code) == (0, 0)
    assert "Traceback" not in log
    assert "Exception" not in log


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
        (["zstack", "--given", "region=sh"], 2, "--given: nothing here reads 'region'; none is needed"),
        (["zstack", "--routes", "/nope"], 1, "there is no folder /nope"),
        (["zstack", "--tls-key", "key.pem"], 2, "--tls-key: its certificate is missing; give --tls-cert too"),
        (["zstack", "--tls-cert", "/nope"], 1, "--tls-cert: /nope cannot be read: no such file or directory"),
        (["zstack", "--rules-of", "nope"], 2, "--rules-of: name the folder of the route by --routes"),
        (["zstack", *RULED[:-1], "nope"], 1, "no route is named 'nope'"),
        (["zstack", *RULED], 2, "--rules-of: zstack-to-tencent does not send to zstack, but to tencent-receiver"),
        (["scp-image", "--file", "/nope"], 1, "--file: /nope cannot be read: no such file"),
        (["scp-image", "--type", "image/png"], 2, "--type is the media type of --file: give --file"),
        (["zstack", "--file", "/dev/null"], 2, "--file: zstack is no relay: its reply to a report is in its spec"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(arguments: list[str], code: int, said: str) -> None:
    ended = run("sink", *arguments)

    assert (ended.code, ended.output) == (code, "")
    assert ended.complaint.startswith(f"gateway: {said}")
