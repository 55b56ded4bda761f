"""gateway sign."""

from pathlib import Path
from typing import Any

import pytest

from gateway.core.http.text import parse_request
from tests.support.requests import CASES, CLOCK, POST, REPORT, SESSION
from tests.support.terminal import Ended, run

each_vector = pytest.mark.parametrize("case", CASES.values(), ids=CASES)

UNSIGNED = {
    "POST": b'POST /v2/index.php HTTP/1.1\nHost: h\nContent-Type: application/json\n\n{"Namespace": "pc", "Data": []}',
    "GET": b"GET /v2/index.php?Namespace=pc&Data=%5B%5D HTTP/1.1\nHost: h\n\n",
    "form": b"POST /v2/index.php HTTP/1.1\nContent-Type: application/x-www-form-urlencoded\n\nNamespace=pc&Data=%5B%5D",
    "CRLF": b"POST /v2/index.php HTTP/1.1\r\nHost: h\r\n\r\n{}",
    "absolute": b"GET http://h:8080/v2/index.php?Namespace=pc HTTP/1.1\n\n",
}


def sign(data: bytes, *more: str, key: str = "an-id") -> Ended:
    options = ("--key", key, "--secret", "env:POST_KEY", "--given", "region=sh", "--at", CLOCK)
    return run("sign", "tencent-receiver", "--request", "-", *options, *more, stdin=data)


def explain(data: bytes, *more: str) -> Ended:
    options = ("--key", "an-id", "--secret", "env:POST_KEY", "--at", CLOCK)
    return run("explain", "tencent-receiver", "--request", "-", *options, *more, stdin=data)


@pytest.mark.parametrize("data", UNSIGNED.values(), ids=UNSIGNED)
def test_signed_request_is_accepted(data: bytes) -> None:
    signed = sign(data)

    assert (signed.code, signed.errors) == (0, "")
    assert explain(signed.raw).code == 0
    assert explain(signed.raw.replace(b"Nonce", b"Once")).code == 1


@each_vector
def test_a_vector_is_signed_to_its_own_signature(case: dict[str, Any]) -> None:
    data = f"{case['request']['method']} /v2/index.php HTTP/1.1\nHost: h\n\n".encode()
    data += b"{}" if case is POST else b""
    secret = "env:POST_KEY" if case is POST else "env:GET_KEY"

    signed = sign(data, "--nonce", "345122", "--secret", secret, "--json", key=case["credentials"]["secret_id"]).json

    assert (signed["signature"], signed["string_to_sign"]) == (case["signature"], case["string_to_sign"])


def test_output_is_a_complete_request() -> None:
    request, oddities = parse_request(sign(UNSIGNED["POST"]).raw)

    assert oddities == []
    assert request.header("content-length") == str(len(request.body))


def test_two_signatures_differ_by_their_nonce() -> None:
    assert sign(UNSIGNED["GET"]).raw != sign(UNSIGNED["GET"]).raw


def test_secret_alone_is_carried_in_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSION", SESSION)
    data = REPORT.replace(b"Authorization: OAuth ", b"Authorization: none ")

    signed = run("sign", "zstack-session", "--request", "-", "--secret", "env:SESSION", stdin=data).raw

    assert f"authorization: OAuth {SESSION}\r\n".encode() in signed
    assert signed.partition(b"\r\n\r\n")[2] == data.partition(b"\r\n\r\n")[2]


def test_bytes_that_are_not_utf8_are_kept() -> None:
    signed = sign(b"POST /v2/\xff HTTP/1.1\nHost: h\nX-Note: \xfe\n\n{}").raw

    assert signed.startswith(b"POST /v2/\xff HTTP/1.1\r\n")
    assert b"X-Note: \xfe\r\n" in signed


def test_json_without_a_signature_has_none() -> None:
    signed = run("sign", "zstack-session", "--request", "-", "--secret", "env:POST_KEY", "--json", stdin=REPORT).json

    assert (signed["signature"], signed["string_to_sign"]) == (None, None)


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--nonce", "abc"], 2, "--nonce: 'abc' is not a whole number from 1 to 2147483647"),
        (["--nonce", ""], 2, "--nonce: '' is not a whole number from 1 to 2147483647"),
        (["--nonce", "0"], 2, "--nonce: '0' is not a whole number from 1 to 2147483647"),
        (["--nonce", "99999999999"], 2, "--nonce: '99999999999' is not a whole number from 1 to 2147483647"),
        (["--given", "area=1"], 2, "--given: nothing here reads 'area'; known: region"),
        (["--at", "soon"], 2, "--at: 'soon' is not a number of seconds, such as 1700000000"),
        (["--request", "/nope"], 1, "--request: /nope cannot be read: no such file or directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(options: list[str], code: int, said: str) -> None:
    ended = sign(UNSIGNED["POST"], *options)

    assert (ended.code, ended.output) == (code, "")
    assert ended.complaint.startswith(f"gateway: {said}")


@pytest.mark.parametrize(
    ("recipe", "options", "said"),
    [
        ("tencent-receiver", ["--key", "k", "--secret", "env:POST_KEY"], "tencent-receiver needs --given region=…"),
        ("tencent-receiver", ["--secret", "env:POST_KEY"], "tencent-receiver has a key id: give --key"),
        ("tencent-receiver", ["--key", "k"], "--secret is missing; write env:NAME or file:PATH"),
        ("zstack-session", ["--key", "k", "--secret", "env:POST_KEY"], "zstack-session has no key id: leave out --key"),
        ("zstack-session", ["--secret", "env:POST_KEY", "--nonce", "1"], "--nonce: zstack-session has none"),
    ],
    ids=["no given", "no key", "no secret", "a key too many", "a nonce too many"],
)
def test_options_that_do_not_fit_the_recipe_are_wrong_usage(recipe: str, options: list[str], said: str) -> None:
    ended = run("sign", recipe, "--request", "-", *options, stdin=REPORT)

    assert (ended.code, ended.complaint) == (2, f"gateway: {said} (see: gateway sign --help)")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "the body is not JSON: "),
        (b"[1]", "the body has no place for 'SecretId': it is not an object"),
        (b"plain", "the body has no place for 'SecretId': it is not an object"),
    ],
    ids=repr,
)
def test_a_body_that_cannot_be_signed_is_one_line(body: bytes, said: str) -> None:
    ended = sign(b"POST /v2/index.php HTTP/1.1\nHost: h\n\n" + body)

    assert (ended.code, ended.output) == (1, "")
    assert ended.complaint.startswith(f"gateway: {said}")


def test_a_secret_with_a_line_break_cannot_split_the_header(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"one\ntwo\n")

    ended = run("sign", "zstack-session", "--request", "-", "--secret", f"file:{tmp_path}/secret", stdin=REPORT)

    assert (ended.code, ended.output) == (1, "")
    assert ended.complaint == "gateway: the header authorization would contain a line break"
