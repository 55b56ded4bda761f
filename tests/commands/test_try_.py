"""gateway try."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.support.requests import ENVIRON, REPORT, SESSION
from tests.support.terminal import Ended, run
from tests.support.upstream import Behaviour, Upstream, answers, in_turn, resets

POINT = {
    "namespace": "MyNameSpace",
    "metric": "UserDefinedName",
    "value": 100.01,
    "attributes": {"label1": "value1"},
}


@pytest.fixture(autouse=True)
def variables(environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)


def try_(data: bytes, *more: object) -> Ended:
    return run("try", "zstack-to-tencent", "--request", "-", *more, stdin=data)


def with_body(body: str | bytes) -> bytes:
    content = body.encode() if isinstance(body, str) else body
    head = f"POST /zstack/v1/zwatch/metrics HTTP/1.1\nHost: h\nAuthorization: OAuth {SESSION}\n\n"
    return head.encode() + content


async def sent(behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch, *more: str) -> tuple[Ended, list[bytes]]:
    """Try the report with --send against an upstream."""
    async with Upstream(behaviour) as upstream:
        monkeypatch.setenv("TENCENT_URL", upstream.url)
        ended = await asyncio.to_thread(try_, REPORT, "--send", *more)
    return ended, upstream.received


def test_each_stage_is_shown() -> None:
    ended = try_(REPORT, "--at", "1700000000")

    lines = ended.output.splitlines()
    headings = [line for line in lines if line.startswith("── ")]
    assert ended.code == 0
    assert headings == [
        "── verified by zstack-session",
        "── 1 data point, 0 rejected, 0 dropped",
        "── call 1 of 1 to http://receiver.monitor.tencentyun.com:8080/v2/index.php",
        "── outcome: OK",
        "── reply",
    ]
    assert json.loads(lines[2]) == POINT | {"time_ns": 1700000000_000000000}
    assert "string to sign: POSTreceiver.monitor.tencentyun.com/v2/index.php?Action=PutMonitorData&" in ended.output
    assert "Timestamp=1700000000\n" in ended.output
    assert lines[-1] == "{}"


def test_nothing_is_sent_without_send_and_a_warning_says_so() -> None:
    assert try_(REPORT).complaint.startswith("warning: nothing was sent; ")


def test_json_holds_each_stage() -> None:
    tried = try_(REPORT, "--json").json

    [call] = tried["calls"]
    assert (tried["route"], tried["recipe"], tried["key"]) == ("zstack-to-tencent", "zstack-session", None)
    assert tried["points"][0].items() >= POINT.items()
    assert call["request"].startswith("POST /v2/index.php HTTP/1.1\nHost: receiver.monitor.tencentyun.com:8080\n")
    assert call["string_to_sign"].startswith("POSTreceiver.")
    assert "answer" not in call
    assert tried["outcome"] == {"code": "OK", "accepted": 1}
    assert (tried["reply"]["status"], tried["reply"]["body"]) == (200, "{}")


@pytest.mark.parametrize(
    ("data", "said", "status"),
    [
        (REPORT.replace(SESSION.encode(), b"another"), "UNAUTHENTICATED UNKNOWN_KEY", 503),
        (REPORT.replace(b"Authorization", b"Author"), "UNAUTHENTICATED MISSING_CREDENTIALS", 400),
        (REPORT.replace(b"POST", b"PUT"), "UNIMPLEMENTED WRONG_METHOD", 405),
        (with_body(""), "INVALID_ARGUMENT NOT_PARSED", 503),
        (with_body(b"\xff\xfe\x00"), "INVALID_ARGUMENT NOT_PARSED", 503),
        (with_body("{}"), "INVALID_ARGUMENT MISSING_FIELD", 503),
        (REPORT.replace(b"Host", b"Content-Encoding: gzip\r\nHost"), "INVALID_ARGUMENT NOT_PARSED", 503),
        (REPORT.replace(b"OAuth ", b"OAuth \xff"), "UNAUTHENTICATED UNKNOWN_KEY", 503),
    ],
    ids=["session", "no header", "method", "no body", "garbage", "no data", "no gzip", "not UTF-8"],
)
def test_rejected_report_exits_1_and_shows_the_vendors_reply(data: bytes, said: str, status: int) -> None:
    ended = try_(data)

    assert ended.code == 1
    assert f"── outcome: {said}\n" in ended.output
    assert f"── reply\nHTTP/1.1 {status}\n" in ended.output


def test_rejected_report_is_shown_as_json() -> None:
    ended = try_(REPORT.replace(SESSION.encode(), b"another"), "--json")

    assert ended.code == 1
    assert (ended.json["recipe"], ended.json["points"], ended.json["calls"]) == (None, [], [])
    assert ended.json["outcome"]["reason"] == "UNKNOWN_KEY"


async def test_send_really_sends_and_shows_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, received = await sent(answers(body=b'{"code":0,"message":"OK"}'), monkeypatch)

    assert (ended.code, ended.errors) == (0, "")
    assert json.loads(received[0].partition(b"\r\n\r\n")[2])["Namespace"] == "MyNameSpace"
    assert "── answer\nHTTP/1.1 200\n" in ended.output


async def test_send_puts_the_answer_into_json(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, _ = await sent(answers(body=b'{"code":1006,"message":"slow down"}'), monkeypatch, "--json")

    [call] = ended.json["calls"]
    assert ended.code == 1
    assert (call["answer"]["status"], call["answer"]["body"]) == (200, '{"code":1006,"message":"slow down"}')
    assert ended.json["outcome"]["reason"] == "THROTTLED"


async def test_upstream_that_closes_the_connection_has_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, _ = await sent(resets, monkeypatch)

    assert ended.code == 1
    assert "── no answer\n── outcome: UNAVAILABLE UPSTREAM_DOWN\n" in ended.output


async def test_secrets_that_an_upstream_quotes_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = (ENVIRON["TENCENT_SECRET_KEY"], SESSION)
    body = json.dumps({"code": 1013, "message": " and ".join(secrets)}).encode()

    for more in ((), ("--json",)):
        ended, _ = await sent(answers(body=body, headers=(("X-Echo", secrets[0]),)), monkeypatch, *more)
        assert "*** and ***" in ended.output
        assert [secret for secret in secrets if secret in ended.output + ended.errors] == []


def test_secrets_are_masked_in_what_would_go_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = 'a"secret=with+what%must-be-encoded'
    monkeypatch.setenv("SESSION", secret)
    route = """
route: back
receive: {provider: zstack, credentials: [{secret: "${ZSTACK_SESSION}"}]}
send: {provider: zstack, url: "http://h", credential: {secret: "${SESSION}"}}
"""
    (tmp_path / "back.yaml").write_text(route)

    for more in ((), ("--json",)):
        ended = run("try", "back", "--request", "-", "--routes", tmp_path, *more, stdin=REPORT)
        assert ended.code == 0
        assert "authorization: OAuth ***" in ended.output
        assert "must-be-encoded" not in ended.output


def test_unset_variables_come_from_the_first_case(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRON:
        monkeypatch.delenv(name)

    without, with_case = try_(REPORT), try_(REPORT, "--case")

    *diagnostics, last = without.errors.splitlines()
    assert (without.code, len(diagnostics)) == (1, 3)
    assert last == "gateway: 3 errors in the specs; --case takes variables from the route's first case"
    assert with_case.code == 0


def test_an_absolute_target_is_reduced_to_its_path() -> None:
    assert try_(REPORT.replace(b"POST /", b"POST http://other.example/")).code == 0


def test_a_wrong_content_length_is_a_warning() -> None:
    ended = try_(REPORT.replace(b"Host", b"Content-Length: 3\r\nHost"))

    assert ended.code == 0
    assert ended.errors.startswith("warning: --request: standard input: Content-Length says 3, and the body has 134 ")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["zstack-to-tencnt"], 1, "no route is named 'zstack-to-tencnt'; did you mean 'zstack-to-tencent'?"),
        (["zstack-to-tencnt", "--case"], 1, "no route is named 'zstack-to-tencnt'; did you mean 'zstack-to-tencent'?"),
        (["zstack-to-tencent", "--routes", "/nope"], 1, "there is no folder /nope"),
        (["zstack-to-tencent", "--at", "x"], 2, "--at: 'x' is not a number of seconds, such as 1700000000"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(arguments: list[str], code: int, said: str) -> None:
    ended = run("try", *arguments, "--request", "-", stdin=REPORT)

    assert (ended.code, ended.output) == (code, "")
    assert ended.complaint.startswith(f"gateway: {said}")


def test_unknown_path_lists_the_paths_of_the_route() -> None:
    ended = try_(b"POST /nope HTTP/1.1\nHost: h\n\n")

    said = "gateway: zstack-to-tencent does not listen to /nope, but to POST /zstack/v1/zwatch/metrics, "
    assert ended.code == 1
    assert ended.complaint.startswith(said)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is empty"),
        (b"\x7fELF\x02\xff", "line 1: '\\x7fELF\\x02\\udcff' is not a request line"),
        (b"hello", "line 1: 'hello' is not a request line"),
        (b"POST / HTTP/1.1\n{}", "line 2: '{}' is not a header such as 'Host: example.org'; a blank line ends"),
        (b"POST / HTTP/1.1\nHost: a\rb\n\n", "line 2: 'Host: a\\rb' is not a header"),
    ],
    ids=repr,
)
def test_unreadable_request_is_one_line(data: bytes, said: str) -> None:
    ended = try_(data)

    assert (ended.code, ended.output) == (1, "")
    assert ended.complaint.startswith(f"gateway: --request: standard input: {said}")


async def test_login_is_shown_with_masked_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    route = """
route: back
receive: {provider: zstack, credentials: [{secret: "${ZSTACK_SESSION}"}]}
send: {provider: zstack, url: "${UPSTREAM}", credential: {key: admin, secret: a password, recipe: zstack-session}}
"""
    (tmp_path / "back.yaml").write_text(route)
    logged_in = answers(body=b'{"inventory": {"uuid": "5e55100000000000000000000000000d"}}')

    async with Upstream(in_turn(logged_in, answers(body=b"{}"))) as upstream:
        monkeypatch.setenv("UPSTREAM", upstream.url)
        ended = await asyncio.to_thread(
            run, "try", "back", "--request", "-", "--routes", tmp_path, "--send", stdin=REPORT
        )

    headings = [line for line in ended.output.splitlines() if line.startswith("── ")]
    assert ended.code == 0
    assert headings[2:6] == [
        f"── login 1 of 2 to {upstream.url}/zstack/v1/accounts/login",
        "── answer",
        f"── call 2 of 2 to {upstream.url}/zstack/v1/zwatch/metrics",
        "── answer",
    ]
    assert "authorization: OAuth ***" in ended.output
    assert '"inventory": {"uuid": "***"}' in ended.output
    assert '"logInByAccount":{"accountName":"admin","password":"***"}' in ended.output


DECLARES = """
provider: acme
send:
  item: metric
  request: {method: POST, path: /in, json: items}
  sign: zstack-session
  poll: {every_s: 0.05, sign: none}
  declare: {unique_by: [metric], item: metric, request: {method: POST, path: /meta, json: items}}
  outcome: [{status: 202, poll: body.job}, {status: 200, code: OK}]
---
route: out
receive: {provider: zstack, credentials: [{secret: "${ZSTACK_SESSION}"}], from: [10.0.0.0/8]}
send: {provider: acme, url: "${UPSTREAM}", credential: {secret: "${ZSTACK_SESSION}"}}
"""


def calls_of(ended: Ended) -> list[tuple[str, str]]:
    return [(call["what"], call["request"].partition(" HTTP/")[0]) for call in ended.json["calls"]]


def test_declarations_are_shown_before_the_call_that_needs_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UPSTREAM", "http://h")
    (tmp_path / "out.yaml").write_text(DECLARES)

    ended = run("try", "out", "--request", "-", "--routes", tmp_path, "--json", stdin=REPORT)

    assert calls_of(ended) == [("declare", "POST /meta"), ("call", "POST /in")]


async def test_declarations_and_polls_that_went_out_are_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "out.yaml").write_text(DECLARES)

    async with Upstream(in_turn(answers(200), answers(202, b'{"job": "/jobs/1"}'), answers(200))) as upstream:
        monkeypatch.setenv("UPSTREAM", upstream.url)
        ended = await asyncio.to_thread(
            run, "try", "out", "--request", "-", "--routes", tmp_path, "--send", "--json", stdin=REPORT
        )

    assert calls_of(ended) == [("declare", "POST /meta"), ("call", "POST /in"), ("poll", "GET /jobs/1")]
    assert [call["answer"]["status"] for call in ended.json["calls"]] == [200, 202, 200]


# Relays.

RELAY = """
route: image
receive: {provider: scp-image, from: [127.0.0.1/32], public_url: "http://h", credentials: [{key: old, secret: theirs}]}
send: {provider: scp-image, url: "${UPSTREAM:-http://upstream.invalid}", credential: {key: new, secret: hush-hush}}
"""
METRICS = '[{"name":"a","namespace_name":"n","dimensions":[]}]'
CALL = '{"start":1,"end":2,"period":60,"statistic_type":"AVG","metrics":' + METRICS + "}"


def try_relay(folder: Path, body: str, *more: object) -> Ended:
    (folder / "image.yaml").write_text(RELAY)
    head = "POST /v1/metrics/data/download/image HTTP/1.1\nHost: h\n\n"
    options = ("--key", "old", "--secret", "theirs", "--at", "1700000000")
    signed = run("sign", "scp", "--request", "-", *options, stdin=(head + body).encode()).output
    more = ("--routes", folder, "--at", "1700000000", *more)
    return run("try", "image", "--request", "-", *more, stdin=signed.rstrip("\n").encode())


def test_the_call_of_a_relay_is_shown_with_its_string_to_sign(tmp_path: Path) -> None:
    ended = try_relay(tmp_path, CALL)

    headings = [line for line in ended.output.splitlines() if line.startswith("── ")]
    assert ended.code == 0
    assert headings == [
        "── verified by scp, key old",
        "── call 1 of 1 to http://upstream.invalid/v1/metrics/data/download/image",
        "── outcome: OK",
    ]
    assert "string to sign: POSThttp://upstream.invalid/v1/metrics/data/download/image1700000000000new" in ended.output
    assert CALL in ended.output
    assert "hush-hush" not in ended.output
    assert "nothing was sent; the reply is what the upstream answers (--send sends)" in ended.errors


def test_rejected_relay_call_shows_the_vendors_reply(tmp_path: Path) -> None:
    ended = try_relay(tmp_path, "{}")

    assert ended.code == 1
    assert "── outcome: INVALID_ARGUMENT MISSING_FIELD\nstart is missing\n── reply\n" in ended.output
    assert ended.output.endswith('{"errors":[{"detail":"start is missing"}]}\n')
    assert "── call" not in ended.output


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
async def test_answer_to_a_relay_is_shown_with_head_and_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, code: int
) -> None:
    async with Upstream(answers(status, bytes(70_000), (("Content-Type", "image/png"),))) as upstream:
        monkeypatch.setenv("UPSTREAM", upstream.url)
        ended = await asyncio.to_thread(try_relay, tmp_path, CALL, "--send")

    assert ended.code == code
    assert (
        f"── answer, passed on with 70,000 bytes of body\nHTTP/1.1 {status}\nContent-Type: image/png\n" in ended.output
    )
    assert "\0" not in ended.output


async def test_a_relay_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Upstream(answers(200, bytes(10))) as upstream:
        monkeypatch.setenv("UPSTREAM", upstream.url)
        ended = await asyncio.to_thread(try_relay, tmp_path, CALL, "--send", "--json")

    shown = json.loads(ended.output)
    [call] = shown["calls"]
    assert (shown["recipe"], shown["key"], shown["outcome"]["code"], shown["reply"]) == ("scp", "old", "OK", None)
    assert call["string_to_sign"].startswith("POSThttp://127.0.0.1:")
    assert (call["answer"]["status"], call["answer"]["bytes"], call["answer"]["body"]) == (200, 10, None)


async def test_unreachable_upstream_of_a_relay_shows_the_vendors_reply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Upstream(resets) as upstream:
        monkeypatch.setenv("UPSTREAM", upstream.url)
        ended = await asyncio.to_thread(try_relay, tmp_path, CALL, "--send")

    assert ended.code == 1
    assert "── outcome: UNAVAILABLE UPSTREAM_DOWN" in ended.output
    assert "HTTP/1.1 503" in ended.output
