"""gateway explain."""

from pathlib import Path
from typing import Any

import pytest

from gateway.commands.recipes.explain import first_difference
from gateway.core.http.text import format_request
from tests.commands.conftest import written
from tests.core.recipe.samples import NOW_NS, plain_call
from tests.support.requests import CASES, CLOCK, GET, POST, REPORT, SESSION, raw
from tests.support.terminal import Ended, run

SECRET_OF = {POST["id"]: "env:POST_KEY", GET["id"]: "env:GET_KEY"}

each_vector = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def explain(data: bytes, case: dict[str, Any] = POST, *more: object, at: str = CLOCK) -> Ended:
    credential = ("--key", case["credentials"]["secret_id"], "--secret", SECRET_OF[case["id"]])
    return run("explain", "tencent-receiver", "--request", "-", *credential, "--at", at, *more, stdin=data)


@each_vector
def test_a_vector_is_accepted(case: dict[str, Any]) -> None:
    ended = explain(raw(case), case)

    assert (ended.code, ended.errors) == (0, "")
    assert f"string to sign  {case['string_to_sign']}\n" in ended.output
    assert f"result  signature       {case['signature']}\n" in ended.output
    assert ended.output.endswith("── accepted\n")


@each_vector
@pytest.mark.parametrize("part", ["path", "key", "Region", "Timestamp", "Nonce", "Signature", "method"])
def test_altered_vector_is_rejected(case: dict[str, Any], part: str) -> None:
    data = raw(case)
    altered = {
        "path": data.replace(b"index.php", b"index.phq"),
        "key": data.replace(b"wWTF", b"wWTG"),
        "Region": data.replace(b'"sh"', b'"si"').replace(b"Region=sh", b"Region=si"),
        "Timestamp": data.replace(b"1402992826", b"1402992827"),
        "Nonce": data.replace(b"345122", b"345123"),
        "Signature": data.replace(b"BNkug", b"BNkuh").replace(b"qhJz1", b"qhJz2"),
        "method": data.replace(b"POST", b"PUT").replace(b"GET", b"HEAD"),
    }[part]

    ended = explain(altered, case)

    assert altered != data
    assert (ended.code, ended.errors) == (1, "")
    assert "── rejected: " in ended.output


@each_vector
def test_json_holds_each_value_and_the_verdict(case: dict[str, Any]) -> None:
    explained = explain(raw(case), case, "--json").json

    values = {value["name"]: value["value"] for value in explained["values"]}
    assert (explained["accepted"], explained["rejected"]) == (True, None)
    assert (values["string to sign"], values["signature"]) == (case["string_to_sign"], case["signature"])


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"], ids=["CRLF", "LF"])
def test_lines_may_end_with_lf_or_crlf(line_end: bytes) -> None:
    assert explain(raw(POST).replace(b"\r\n", line_end)).code == 0


def test_an_absolute_target_is_reduced_to_its_path() -> None:
    data = raw(POST).replace(b"POST /v2", b"POST http://receiver.monitor.tencentyun.com:8080/v2")

    assert explain(data).code == 0


def test_byte_order_mark_is_ignored() -> None:
    assert explain(b"\xef\xbb\xbf" + raw(POST)).code == 0


def test_alternative_binding_of_the_recipe_is_explained() -> None:
    path = ("explain", "tencent-receiver", "--request", "-", "--key", "k", "--secret", "env:POST_KEY", "--at", CLOCK)
    sign = ("sign", *path[1:], "--given", "region=sh")
    signed = run(*sign, stdin=b"POST /report.cgi HTTP/1.1\n\n{}").raw.replace(b"/report.cgi", b"/v2/index.php")

    ended = run(*path, stdin=signed)

    assert ended.code == 0
    assert "fits with path = /report.cgi\n" in ended.output


def test_wrong_secret_shows_both_signatures() -> None:
    ended = explain(raw(POST), {**POST, "id": GET["id"]})

    assert ended.code == 1
    assert f"BAD_SIGNATURE: the signature does not match: the request has {POST['signature']}, " in ended.output


def test_another_key_id_names_both() -> None:
    case = {**POST, "credentials": {"secret_id": "another"}}

    ended = explain(raw(POST), case)

    assert ended.code == 1
    assert f"the request has the key id '{POST['credentials']['secret_id']}', and --key is 'another'" in ended.output


def test_stale_request_is_also_verified_at_its_own_time() -> None:
    ended = explain(raw(POST), at="1700000000")

    assert ended.code == 1
    assert ended.output.endswith(f"300 s are allowed; at its own time (--at {CLOCK}) it is accepted\n")


def test_a_stale_request_with_a_wrong_signature_says_both() -> None:
    ended = explain(raw(POST).replace(b"345122", b"345123"), at="1700000000")

    assert ended.code == 1
    assert f"(--at {CLOCK}) it is rejected too: BAD_SIGNATURE" in ended.output


def test_pinned_value_rejects_another_value() -> None:
    ended = explain(raw(POST), POST, "--given", "region=bj")

    assert ended.code == 1
    assert "this route does not accept the region 'sh'" in ended.output


@pytest.mark.parametrize("name", ["Nonce", "SecretId", "Signature"])
def test_a_missing_parameter_is_named(name: str) -> None:
    ended = explain(raw(POST).replace(f'"{name}"'.encode(), b'"Other"'))

    assert ended.code == 1
    assert f"MISSING_CREDENTIALS: the parameter {name} is missing" in ended.output


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b"null"], ids=repr)
def test_body_that_cannot_carry_the_signature_is_rejected(body: bytes) -> None:
    head = raw(POST).partition(b"\r\n\r\n")[0].replace(b"Content-Length: 286\r\n", b"")

    assert explain(head + b"\r\n\r\n" + body).code == 1


def test_a_request_without_a_blank_line_has_no_body_and_a_warning() -> None:
    ended = explain(raw(POST).partition(b"\r\n\r\n")[0])

    assert ended.code == 1
    assert "there is no blank line after the headers" in ended.errors


def test_a_wrong_content_length_is_a_warning() -> None:
    ended = explain(raw(POST).replace(b"\r\n\r\n", b"\r\nContent-Length: 7\r\n\r\n", 1))

    assert ended.code == 0
    assert "warning: --request: standard input: Content-Length says 7, and the body has " in ended.errors


def test_bytes_that_are_not_utf8_are_shown_as_escapes() -> None:
    ended = explain(raw(POST).replace(b"index.php", b"\xff\x1b[31m"))

    assert ended.code == 1
    assert "\\xff\\x1b[31m?Action" in ended.output


def test_bytes_that_are_not_utf8_can_be_written_as_json() -> None:
    explained = explain(raw(POST).replace(b"index.php", b"\xff"), POST, "--json").json

    assert "/v2/\udcff?Action" in explained["values"][-2]["value"]


def test_equal_string_to_sign_is_recognised(tmp_path: Path) -> None:
    theirs = written(tmp_path / "theirs", POST["string_to_sign"].encode() + b"\n")

    ended = explain(raw(POST), POST, "--expect", theirs)

    assert ended.code == 0
    assert "they are the same\n" in ended.output


def test_the_same_string_to_sign_leaves_only_the_secret(tmp_path: Path) -> None:
    theirs = written(tmp_path / "theirs", POST["string_to_sign"].encode())

    ended = explain(raw(POST), {**POST, "id": GET["id"]}, "--expect", theirs)

    assert ended.code == 1
    assert "they are the same: the secrets differ\n" in ended.output


def test_the_first_difference_is_shown(tmp_path: Path) -> None:
    theirs = written(tmp_path / "theirs", POST["string_to_sign"].replace("Region=sh", "Region=bj").encode())

    ended = explain(raw(POST), POST, "--expect", theirs)

    assert "they differ from line 1, character 92: ours has 'sh&SecretId=AKDuXhrYW5il', the client's has 'bj&" in (
        ended.output
    )


def test_the_first_difference_is_json_too(tmp_path: Path) -> None:
    explained = explain(raw(POST), POST, "--expect", written(tmp_path / "theirs", b"GET"), "--json").json

    assert explained["same"] is False
    assert explained["difference"].startswith("they differ from line 1, character 1: ")


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        ("a\nb", "a\nb", None),
        ("a\nb", "a\nb\n", None),
        ("a\nb", "a\nb\r\n", None),
        ("a\n", "a", "line 1, character 2: ours has '\\n', the client's has its end"),
        ("a\nb", "a\nb\n\n", "line 2, character 2: ours has its end, the client's has '\\n\\n'"),
        ("a\nbc", "a\nbd", "line 2, character 2: ours has 'c', the client's has 'd'"),
        ("a\nb", "a\r\nb", "line 1, character 2: ours has '\\nb', the client's has '\\r\\nb'"),
        ("xabcabc", "abcabc", "line 1, character 1: ours has 'xabcabc', the client's has 'abcabc'"),
        ("a", "", "line 1, character 1: ours has 'a', the client's has its end"),
    ],
    ids=repr,
)
def test_first_difference_has_line_and_character(ours: str, theirs: str, said: str | None) -> None:
    assert first_difference(ours, theirs) == said


def test_url_option_replaces_the_host(tmp_path: Path) -> None:
    recipe = """
recipe: acme
slots:
  key: {kind: key}
  time: {kind: time, format: epoch, window_s: 300}
  signature: {kind: signature, of: "{url}", hmac: sha256, key: "{secret}", as: hex}
carry: [{header: x-sign, value: "{key}:{time}:{signature}"}]
"""
    written(tmp_path / "acme.yaml", recipe.encode())
    credential = ("--key", "k", "--secret", "env:POST_KEY", "--at", CLOCK, "--routes", tmp_path, "--request", "-")
    signed = run("sign", "acme", *credential, stdin=b"GET /a HTTP/1.1\nHost: h\n\n").raw

    ended = run("explain", "acme", *credential, "--url", "https://outer.example/b/", stdin=signed)

    assert "string to sign  https://outer.example/b/a\n" in ended.output


# Secrets.


def test_a_carried_secret_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSION", SESSION)
    arguments = ("explain", "zstack-session", "--request", "-", "--secret", "env:SESSION")

    text, as_json = run(*arguments, stdin=REPORT), run(*arguments, "--json", stdin=REPORT)

    assert (text.code, as_json.code) == (0, 0)
    assert SESSION not in text.output + as_json.output + text.errors
    assert as_json.json["values"] == [{"kind": "slot", "name": "session", "value": "***"}]


def test_a_carried_secret_that_is_wrong_is_masked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSION", "another")

    ended = run("explain", "zstack-session", "--request", "-", "--secret", "env:SESSION", stdin=REPORT)

    assert ended.code == 1
    assert SESSION not in ended.output


def test_a_secret_that_the_client_sent_as_its_key_id_is_masked() -> None:
    secret = POST["credentials"]["secret_key"]
    data = raw(POST).replace(POST["credentials"]["secret_id"].encode(), secret.encode())

    for more in ((), ("--json",)):
        ended = explain(data, POST, *more)
        assert ended.code == 1
        assert secret not in ended.output


def test_short_secret_does_not_garble_the_output() -> None:
    ended = run(
        *("explain", "tencent-receiver", "--request", "-", "--key", "k", "--secret", "o", "--at", CLOCK),
        stdin=raw(POST),
    )

    assert f"string to sign  {POST['string_to_sign']}\n" in ended.output


@pytest.mark.parametrize("of", ["{secret}{body}", "{salted}"])
def test_a_string_to_sign_that_holds_the_secret_is_masked_and_not_compared(tmp_path: Path, of: str) -> None:
    recipe = f"""
recipe: acme
slots:
  key: {{kind: key}}
  signature: {{kind: signature, of: "{of}", hmac: sha256, key: "{{secret}}", as: hex}}
carry: [{{header: x-sign, value: "{{key}}:{{signature}}"}}]
steps:
  salted: {{text: "{{body}}{{secret}}"}}
"""
    written(tmp_path / "acme.yaml", recipe.encode())
    theirs = written(tmp_path / "theirs", b"body")
    credential = ("--key", "k", "--secret", "env:POST_KEY", "--routes", tmp_path, "--request", "-")
    signed = run("sign", "acme", *credential, stdin=b"POST /a HTTP/1.1\nHost: h\n\nbody").raw

    ended = run("explain", "acme", *credential, "--expect", theirs, stdin=signed)

    assert ended.code == 0
    assert "string to sign  ***\n" in ended.output
    assert "the string to sign holds the secret: it is not compared\n" in ended.output
    assert POST["credentials"]["secret_key"] not in ended.output


# What the person must fix, each in one line.


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (["--secret", "env:NOPE"], 1, "--secret: the environment variable 'NOPE' is not set"),
        (["--secret", "env:EMPTY"], 1, "--secret: EMPTY is empty"),
        (["--secret", "file:/nope"], 1, "--secret: /nope cannot be read: no such file or directory"),
        (["--secret", "file:."], 1, "--secret: . cannot be read: is a directory"),
        (["--secret", "file:{binary}"], 1, "--secret: {binary} cannot be read: it is not UTF-8"),
        (["--secret", "file:/dev/null"], 1, "--secret: /dev/null is empty"),
        (["--secret", ""], 2, "--secret is empty"),
        (["--key", ""], 2, "--key is empty"),
        (["--given", "x"], 2, "--given: 'x' is not NAME=VALUE"),
        (["--given", "=x"], 2, "--given: '=x' is not NAME=VALUE"),
        (["--given", "regoin=sh"], 2, "--given: nothing here reads 'regoin'; did you mean 'region'?"),
        (["--given", "region=a", "--given", "region=b"], 2, "--given: region is given twice"),
        (["--at", "noon"], 2, "--at: 'noon' is not a number of seconds, such as 1700000000"),
        (["--at", "nan"], 2, "--at: 'nan' is not a number of seconds, such as 1700000000"),
        (["--at", "inf"], 2, "--at: inf is not between 0 and 253402300800: it counts seconds since 1970"),
        (["--at", "-1"], 2, "--at: -1 is not between 0 and 253402300800: it counts seconds since 1970"),
        (["--at", "1402992826000"], 2, "--at: 1402992826000 is not between 0 and 253402300800: "),
        (
            ["--url", "example.org"],
            2,
            "--url: 'example.org': this is not a URL: write http://HOST[:PORT] or https://HOST[:PORT]",
        ),
        (["--url", "http://[::1"], 2, "--url: 'http://[::1': this is not a URL: write http://HOST[:PORT]"),
        (["--url", "http://h?a=b"], 2, "--url: 'http://h?a=b': a base URL has neither user, query nor fragment"),
        (["--request", "/nope"], 1, "--request: /nope cannot be read: no such file or directory"),
        (["--request", "."], 1, "--request: . cannot be read: is a directory"),
        (["--request", "/dev/null"], 1, "--request: /dev/null: it is empty; "),
        (["--request", "{binary}"], 1, "--request: {binary}: line 1: '\\x7fELF\\udcff\\x00' is not a request line"),
        (["--expect", "/nope"], 1, "--expect: /nope cannot be read: no such file or directory"),
        (["--routes", "/nope"], 1, "there is no folder /nope"),
        (["--routes", "README.md"], 1, "README.md is not a folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(tmp_path: Path, post_file: Path, change: list[str], code: int, said: str) -> None:
    binary = str(written(tmp_path / "binary", b"\x7fELF\xff\x00"))
    right = ["--request", str(post_file), "--key", POST["credentials"]["secret_id"], "--secret", "env:POST_KEY"]

    ended = run("explain", "tencent-receiver", *right, *[text.replace("{binary}", binary) for text in change])

    assert (ended.code, ended.output) == (code, "")
    assert ended.complaint.startswith("gateway: " + said.replace("{binary}", binary))
    assert ended.complaint.endswith(" (see: gateway explain --help)") is (code == 2)


@pytest.mark.parametrize(
    ("recipe", "options", "said"),
    [
        ("tencent-receiver", ["--secret", "env:POST_KEY"], "tencent-receiver has a key id: give --key"),
        ("tencent-receiver", ["--key", "k"], "--secret is missing; write env:NAME or file:PATH"),
        ("tencent-receiver", [], "--secret is missing; write env:NAME or file:PATH"),
        ("zstack-session", ["--key", "k", "--secret", "env:POST_KEY"], "zstack-session has no key id: leave out --key"),
        ("zstack-session", ["--secret", "env:POST_KEY", "--expect", "f"], "--expect: zstack-session signs nothing"),
    ],
    ids=["no key", "no secret", "neither", "a key too many", "nothing to compare"],
)
def test_a_credential_that_does_not_fit_is_wrong_usage(recipe: str, options: list[str], said: str) -> None:
    ended = run("explain", recipe, "--request", "-", *options, stdin=REPORT)

    assert (ended.code, ended.complaint) == (2, f"gateway: {said} (see: gateway explain --help)")


def test_an_unknown_recipe_has_a_hint() -> None:
    ended = run("explain", "tencent-reciever", "--request", "-", "--key", "k", "--secret", "env:POST_KEY")

    said = "gateway: no recipe is named 'tencent-reciever'; did you mean 'tencent-receiver'?"
    assert (ended.code, ended.complaint) == (1, said)


def test_a_closed_standard_input_is_one_line() -> None:
    ended = run("explain", "tencent-receiver", "--request", "-", "--key", "k", "--secret", "env:POST_KEY", stdin=None)

    assert (ended.code, ended.complaint) == (1, "gateway: --request: standard input is closed")


def test_standard_input_cannot_be_two_files() -> None:
    ended = explain(raw(POST), POST, "--expect", "-")

    assert ended.code == 2
    assert ended.complaint.startswith("gateway: --request and --expect cannot both be standard input")


def test_a_bare_secret_warns() -> None:
    ended = run("explain", "zstack-session", "--request", "-", "--secret", SESSION, stdin=REPORT)

    assert ended.code == 0
    assert ended.complaint.startswith("warning: a bare --secret shows in the list of processes")
    assert SESSION not in ended.errors


def test_a_secret_file_ends_before_its_line_feed(tmp_path: Path) -> None:
    secret = written(tmp_path / "secret", SESSION.encode() + b"\n")

    ended = run("explain", "zstack-session", "--request", "-", "--secret", f"file:{secret}", stdin=REPORT)

    assert (ended.code, ended.errors) == (0, "")


def test_the_string_to_sign_of_an_rsa_signature_is_shown(tmp_path: Path) -> None:
    call = plain_call("oci-cavage")
    (tmp_path / "key.pem").write_text(call.credential.secret.reveal())
    given = [f"--given={name}={value}" for name, value in call.given.items()]

    ended = run(
        *(
            "explain",
            "oci-cavage",
            "--request",
            "-",
            "--key",
            call.credential.key,
            "--secret",
            f"file:{tmp_path}/key.pem",
            *given,
        ),
        *("--at", str(NOW_NS // 1_000_000_000)),
        stdin=format_request(call.request),
    )

    assert "(request-target): post /" in ended.output.partition("result  string to sign")[2]
    assert ended.output.endswith("── accepted\n")
