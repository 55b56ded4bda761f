"""gateway report."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from tests.commands.conftest import written
from tests.support.certificates import Authority
from tests.support.processes import command
from tests.support.terminal import Ended, run
from tests.support.upstream import Behaviour, Upstream, answers

CLUB = b"""
recipe: club-session
slots: {session: {kind: secret}}
carry: [{header: x-session, value: "{session}"}]
---
recipe: club-login
slots: {name: {kind: key}, password: {kind: secret}}
carry: [{json: name, value: "{name}"}, {json: password, value: "{password}"}]
---
provider: club
receive:
  request: {method: POST, path: /metrics, body: json}
  verify: [club-session]
  each: {item: body}
  point: {metric: item.m, value: item.v}
  local_calls:
    login:
      request: {method: POST, path: /login, body: json}
      verify: [club-login]
      issues: club-session
      reply: {json: {token: token}}
send:
  item: {m: metric, v: value}
  request: {method: POST, path: /metrics, json: items}
  sign: club-session
  login:
    for: club-session
    request: {method: POST, path: /login, json: {}}
    sign: club-login
    token: body.token
    lifetime_s: 60
"""
CLUB_ROUTE = b"""
---
route: to-club
receive: {provider: zstack, credentials: [{secret: 0123456789abcdef0123456789abcdef}], from: [127.0.0.0/8]}
points: {allow_loss: [namespace, attributes, time_ns]}
send: {provider: club, url: "http://h", credential: {key: admin, secret: password}}
cases:
  - case: one
    request: {json: {params: {namespace: n, data: [{metricName: m, value: 1, labels: {a: b}}]}}}
"""
OPTIONS = ("--key", "an-id", "--secret", "env:POST_KEY", "--given", "region=sh")
TAKEN = answers(body=b'{"code":0,"message":"OK"}')
POINTS = b"""{"namespace": "n", "metric": "load", "value": 0.5, "attributes": {"host": "a"}}

{"namespace": "n", "metric": "disk", "value": 9007199254740993, "attributes": {"host": "b"}}
"""


async def reported(behaviour: Behaviour, *more: object, stdin: bytes = b"") -> tuple[Ended, list[bytes]]:
    async with Upstream(behaviour) as upstream:
        arguments = ("report", "tencent-receiver", "--url", upstream.url, *OPTIONS, *more)
        ended = await asyncio.to_thread(run, *arguments, stdin=stdin)
    return ended, upstream.received


def body_of(raw: bytes) -> dict:
    return json.loads(raw.partition(b"\r\n\r\n")[2])


async def test_one_made_up_data_point_is_reported() -> None:
    ended, [call] = await reported(TAKEN)

    assert (ended.code, ended.output, ended.errors) == (0, "OK: 1 data point\n", "")
    assert body_of(call)["Data"][0]["metricName"] == "gateway.test"


async def test_data_points_come_from_a_file(tmp_path: Path) -> None:
    ended, [call] = await reported(TAKEN, "--points", written(tmp_path / "points.jsonl", POINTS))

    assert (ended.code, ended.output) == (0, "OK: 2 data points\n")
    assert [datum["value"] for datum in body_of(call)["Data"]] == [0.5, 9007199254740993]


async def test_data_points_come_from_standard_input() -> None:
    ended, _ = await reported(TAKEN, "--points", "-", stdin=POINTS)

    assert (ended.code, ended.output) == (0, "OK: 2 data points\n")


async def test_outcome_is_shown_as_json() -> None:
    ended, _ = await reported(TAKEN, "--json")

    assert (ended.code, ended.output) == (0, '{"code":"OK","accepted":1}\n')


async def test_rejected_report_exits_1() -> None:
    ended, _ = await reported(answers(body=b'{"code":1006,"message":"slow"}'))

    assert (ended.code, ended.output) == (1, "RESOURCE_EXHAUSTED THROTTLED: slow\n")


async def test_a_secret_that_the_vendor_quotes_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POST_KEY", "the-key-of-an-id")

    ended, _ = await reported(answers(body=b'{"code":1013,"message":"bad the-key-of-an-id"}'))

    assert (ended.code, ended.output) == (1, "INVALID_ARGUMENT UPSTREAM_REJECTED: bad ***\n")


def test_unreachable_vendor_is_an_outcome() -> None:
    ended = run("report", "tencent-receiver", "--url", "http://127.0.0.1:1", *OPTIONS)

    assert (ended.code, ended.errors) == (1, "")
    assert ended.output == "UNAVAILABLE UPSTREAM_DOWN: 127.0.0.1:1: connection refused\n"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", " has no data points"),
        (b"\n\n", " has no data points"),
        (b"x", ":1: it is not JSON: "),
        (b"\xff\xfe", ":1: it is not UTF-8"),
        (b'{"metric": "m", "value": NaN}', ":1: it is not JSON: "),
        (b"[1]", ":1: a data point is an object with a metric, such as "),
        (b"{}", ":1: a data point is an object with a metric, such as "),
        (b'{"metric": 5}', ":1: a data point is an object with a metric, such as "),
        (b'{"metric": "m"}\n{"metric": "m", "labels": {}}', ":2: a data point has no 'labels'; it has namespace, "),
        (b'{"metric": "m", "value": true}', ":1: true is not a finite number"),
    ],
    ids=repr,
)
def test_invalid_data_points_are_one_line(tmp_path: Path, data: bytes, said: str) -> None:
    file = written(tmp_path / "points", data)

    ended = run("report", "tencent-receiver", "--url", "http://127.0.0.1:1", *OPTIONS, "--points", file)

    assert (ended.code, ended.output) == (1, "")
    assert ended.complaint.startswith(f"gateway: --points: {file}{said}")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ["tencent-reciever", *OPTIONS],
            1,
            "no provider is named 'tencent-reciever'; did you mean 'tencent-receiver'?",
        ),
        (["tencent-receiver", *OPTIONS, "--points", "/nope"], 1, "--points: /nope cannot be read: no such file"),
        (["tencent-receiver", *OPTIONS, "--points", "."], 1, "--points: . cannot be read: is a directory"),
        (["tencent-receiver", *OPTIONS, "--given", "area=1"], 2, "--given: nothing here reads 'area'; known: region"),
        (["tencent-receiver", *OPTIONS[:4]], 2, "tencent-receiver needs --given region=…"),
        (["tencent-receiver", *OPTIONS[2:]], 2, "tencent-receiver has a key id: give --key"),
        (["tencent-receiver", *OPTIONS[:2]], 2, "--secret is missing; write env:NAME or file:PATH"),
        (["tencent-receiver"], 2, "calls to tencent-receiver are signed: give --key and --secret"),
        (["scp-image"], 1, "scp-image is a relay: its calls contain no data points; `gateway sign` signs such a call"),
        (["zstack"], 2, "calls to zstack are signed: give --secret"),
        (["zstack", *OPTIONS, "--ca", "x"], 2, "--ca: --url is not https, so no certificate is verified"),
        (["zstack", *OPTIONS, "--url", "https://h", "--ca", "/nope"], 1, "--ca: /nope cannot be read: no such file"),
        (
            ["zstack", *OPTIONS, "--url", "ftp://h"],
            2,
            "--url: 'ftp://h': this is not a URL: write http://HOST[:PORT] or https://HOST",
        ),
        (
            ["zstack", *OPTIONS, "--url", "http://h:x"],
            2,
            "--url: 'http://h:x': this is not a URL: write http://HOST[:PORT] or https://HOST",
        ),
        (
            ["zstack", *OPTIONS, "--url", "http://a b"],
            2,
            "--url: 'http://a b': this is not a URL: write http://HOST[:PORT] or https://HOST",
        ),
        (
            ["zstack", *OPTIONS, "--url", "http://u:p@h"],
            2,
            "--url: 'http://u:p@h': a base URL has neither user, query nor fragment",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(arguments: list[str], code: int, said: str) -> None:
    ended = run("report", "--url", "http://127.0.0.1:1", *arguments)

    assert (ended.code, ended.output) == (code, "")
    assert ended.complaint.startswith(f"gateway: {said}")


async def test_a_vendor_whose_only_credential_logs_in_is_played_on_both_sides(tmp_path: Path) -> None:
    written(tmp_path / "club.yaml", CLUB)
    options = ("--routes", str(tmp_path), "--key", "admin", "--secret", "env:POST_KEY")
    environ = {"POST_KEY": os.environ["POST_KEY"]}
    async with command("sink", "club", "--listen", "127.0.0.1:0", *options, environ=environ) as sink:
        url = f"http://{(await sink.event('listening'))['address']}"
        accepted = await asyncio.to_thread(run, "report", "club", "--url", url, *options)
        rejected = await asyncio.to_thread(run, "report", "club", "--url", url, *options, "--key", "other")
        printed = json.loads(await sink.line())

    assert (accepted.code, accepted.output) == (0, "OK: 1 data point\n")
    assert (rejected.code, "login to" in rejected.output) == (1, True)
    assert printed["metric"] == "gateway.test"


def test_a_route_to_a_vendor_whose_only_credential_logs_in_is_demonstrated(tmp_path: Path) -> None:
    written(tmp_path / "club.yaml", CLUB + CLUB_ROUTE)

    ended = run("demo", "--once", "--port", "0", "--routes", tmp_path)

    assert (ended.code, ended.errors) == (0, ""), ended.output


async def test_an_upstream_with_an_incomplete_certificate_takes_no_tls_strict(tmp_path: Path) -> None:
    authority = Authority(tmp_path, strict=False)
    async with Upstream(TAKEN, tls=authority.guard(*authority.issue("b"))) as upstream:
        arguments = ("report", "tencent-receiver", "--url", upstream.url, *OPTIONS, "--ca", authority.file)
        strict = await asyncio.to_thread(run, *arguments)
        lenient = await asyncio.to_thread(run, *arguments, "--no-tls-strict")

    assert (strict.code, lenient.code, lenient.output) == (1, 0, "OK: 1 data point\n")
