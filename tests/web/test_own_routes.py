"""User-defined routes over real sockets: several namespaces in a report, signed reports, no credentials."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.caller import Reply
from tests.support.gateway import SAMPLE, SESSION, datum, raw_report, running, says
from tests.support.upstream import answers

MANY = """
provider: many
receive:
  request: {method: POST, path: "/many/{tenant}", body: json}
  verify: [zstack-session]
  each: {item: body}
  point: {namespace: item.space, metric: item.name, value: item.value, attributes: item.labels}
---
route: many-to-tencent
receive: {provider: many, credentials: [{secret: old}, {secret: new}]}
send:
  provider: tencent-receiver
  url: "${UPSTREAM}"
  credential: {key: an-id, secret: the-key-of-an-id}
  given: {region: sh}
"""


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A route whose reports may hold several namespaces, and of whose two secrets each will do."""
    (tmp_path / "many.yaml").write_text(MANY)
    return tmp_path


def raw_many(*spaces: str, session: str = "new") -> bytes:
    items = [{"space": space, "name": "m", "value": 1, "labels": {"a": "b"}} for space in spaces]
    return raw_report(json.dumps(items), session=f"OAuth {session}", target="/many/x")


async def test_each_namespace_of_a_report_becomes_a_call(many: Path) -> None:
    async with running(says(0), routes=many) as gateway:
        reply = await gateway.send(raw_many("a", "b", "a"))

    assert reply.status == 200
    assert sorted((sent["Namespace"], len(sent["Data"])) for sent in gateway.sent) == [("a", 2), ("b", 1)]


@pytest.mark.parametrize(
    ("codes", "status", "reason", "message"),
    [
        ({"b": 1013}, 400, "PARTIAL", "1 of 3 items were rejected; the first is item 1: 1013 of b"),
        ({"c": 1006}, 429, "PARTIAL", "1 of 3 items were rejected; the first is item 2: 1006 of c"),
        ({"b": 1013, "c": 1006}, 429, "PARTIAL", "2 of 3 items were rejected; the first is item 1: 1013 of b"),
        ({"a": 1013, "b": 1013, "c": 1012}, 400, "UPSTREAM_REJECTED", "1013 of a"),
        ({"a": 1013, "b": 1011, "c": 1012}, 503, "UPSTREAM_AUTH", "1011 of b"),
    ],
    ids=["one rejected", "one to repeat", "one of each", "all rejected", "all, and one not our reporter's fault"],
)
async def test_failed_calls_are_combined_to_one_outcome(
    many: Path, codes: dict[str, int], status: int, reason: str, message: str
) -> None:
    async def judges(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        space = json.loads(gateway.upstream.received[-1].partition(b"\r\n\r\n")[2])["Namespace"]
        code = codes.get(space, 0)
        await says(code, f"{code} of {space}")(reader, writer)

    async with running(judges, routes=many) as gateway:
        reply = await gateway.send(raw_many("a", "b", "c"))

    assert (reply.status, reply.json["reason"], reply.json["message"]) == (status, reason, message)
    assert sorted(sent["Namespace"] for sent in gateway.sent) == ["a", "b", "c"]


@pytest.mark.parametrize(("session", "status"), [("old", 200), ("new", 200), ("older", 401)])
async def test_two_secrets_are_accepted_at_the_same_time(many: Path, session: str, status: int) -> None:
    async with running(says(0), routes=many) as gateway:
        reply = await gateway.send(raw_many("a", session=session))

    assert reply.status == status
    assert len(gateway.upstream.received) == (1 if status == 200 else 0)


async def test_a_provider_without_replies_answers_plain_json_by_status(many: Path) -> None:
    async with running(routes=many) as gateway:
        rejected = await gateway.send(raw_many("a", session="older"))
        taken = await gateway.send(raw_many("a"))

    assert rejected.json == {
        "code": "UNAUTHENTICATED",
        "reason": "UNKNOWN_KEY",
        "message": "the secret or session is unknown or has expired",
        "request_id": rejected.header("x-request-id"),
    }
    assert taken.json == {"code": "OK", "request_id": taken.header("x-request-id")}


# Signed reports.

SIGNED = """
route: tencent-to-zstack
receive:
  provider: tencent-receiver
  credentials: [{key: an-id, secret: first}, {key: an-id, secret: second}]
  given: {region: sh}
  hide_unknown_keys: %s
send:
  provider: zstack
  url: "${UPSTREAM}"
  credential: {secret: their-session}
"""
DATA = [{"dimensions": {"ip": "10.0.0.1"}, "metricName": "diskusage", "value": 0.3}]
TAKES = answers(200, b"{}", (("Content-Type", "application/json"),))


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    """A route to which reports are signed, with two secrets."""
    (tmp_path / "signed.yaml").write_text(SIGNED % "false")
    return tmp_path


def parameters(
    *,
    method: str = "POST",
    secret: str = "first",
    key: str = "an-id",
    nonce: int = 7,
    region: str = "sh",
    age_s: int = 0,
) -> dict[str, str | int]:
    """Return the five parameters as the vendor's page has them, the signature over them included."""
    made: dict[str, str | int] = {
        "Nonce": nonce,
        "Region": region,
        "SecretId": key,
        "Timestamp": int(time.time()) - age_s,
    }
    query = "&".join(f"{name}={value}" for name, value in sorted({"Action": "PutMonitorData", **made}.items()))
    text = f"{method}receiver.monitor.tencentyun.com/v2/index.php?{query}"
    digest = hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()
    return made | {"Signature": base64.b64encode(digest).decode()}


def raw_post(given: dict[str, str | int]) -> bytes:
    body = json.dumps({**given, "Namespace": "pc", "Data": DATA})
    return raw_report(body, session=None, target="/v2/index.php")


def raw_get(given: dict[str, str | int]) -> bytes:
    query = {**given, "Namespace": "pc", "Data": json.dumps(DATA)}
    target = "/v2/index.php?" + "&".join(f"{name}={quote(str(value), safe='')}" for name, value in query.items())
    return f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode()


def code_of(reply: Reply) -> int:
    """Return the vendor's code; its HTTP status is always 200."""
    assert (reply.status, reply.header("content-type")) == (200, "application/json")
    code: int = reply.json["code"]
    return code


@pytest.mark.parametrize("secret", ["first", "second"])
@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_signed_report_is_accepted(signed: Path, method: str, secret: str) -> None:
    made = parameters(method=method, secret=secret)
    async with running(TAKES, routes=signed) as gateway:
        reply = await gateway.send(raw_post(made) if method == "POST" else raw_get(made))

    [raw], [sent] = gateway.upstream.received, gateway.sent
    assert reply.json == {"code": 0, "message": "OK"}
    assert b"\r\nAuthorization: OAuth their-session\r\n" in raw or b"\r\nauthorization: OAuth their-session\r\n" in raw
    assert sent["params"]["namespace"] == "pc"
    assert (
        sent["params"]["data"][0].items()
        >= {"metricName": "diskusage", "value": 0.3, "labels": DATA[0]["dimensions"]}.items()
    )


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_replayed_report_is_rejected(signed: Path, method: str) -> None:
    made = parameters(method=method)
    raw = raw_post(made) if method == "POST" else raw_get(made)
    async with running(TAKES, routes=signed) as gateway:
        first, second = await gateway.send(raw), await gateway.send(raw)
        other = await gateway.send(raw_post(parameters(nonce=8)))

    assert [code_of(first), code_of(second), code_of(other)] == [0, 1011, 0]
    assert second.json["message"] == "this request was received before"
    assert len(gateway.upstream.received) == 2


async def test_a_forged_report_does_not_use_up_its_nonce(signed: Path) -> None:
    made = parameters()
    async with running(TAKES, routes=signed) as gateway:
        forged = await gateway.send(raw_post(made | {"Signature": "AAAA"}))
        genuine = await gateway.send(raw_post(made))

    assert [code_of(forged), code_of(genuine)] == [1011, 0]


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (lambda: parameters(secret="third"), 1011),
        (lambda: parameters(key="another-id"), 1011),
        (lambda: parameters(method="GET"), 1011),
        (lambda: parameters() | {"Nonce": 8}, 1011),
        (lambda: parameters() | {"Timestamp": int(time.time()) - 60}, 1011),
        (lambda: parameters() | {"SecretId": "AN-ID"}, 1011),
        (lambda: parameters(region="gz"), 1011),
        (lambda: parameters(age_s=3600), 1021),
        (lambda: parameters(age_s=-3600), 1021),
        (lambda: parameters() | {"Timestamp": "soon"}, None),
        (lambda: {name: value for name, value in parameters().items() if name != "Signature"}, 1009),
        (lambda: {name: value for name, value in parameters().items() if name != "Timestamp"}, 1009),
    ],
    ids=[
        "another secret",
        "another key",
        "another method",
        "changed nonce",
        "changed time",
        "changed key",
        "another region",
        "old",
        "ahead",
        "no time",
        "no signature",
        "time missing",
    ],
)
async def test_a_wrong_signature_is_rejected(
    signed: Path, made: Callable[[], dict[str, str | int]], code: int | None
) -> None:
    async with running(TAKES, routes=signed) as gateway:
        reply = await gateway.send(raw_post(made()))

    assert code_of(reply) == code if code else code_of(reply) != 0
    assert gateway.upstream.received == []


@pytest.mark.parametrize("hidden", [True, False])
async def test_hide_unknown_keys_makes_an_unknown_key_look_wrong(tmp_path: Path, hidden: bool) -> None:
    (tmp_path / "signed.yaml").write_text(SIGNED % str(hidden).lower())
    async with running(TAKES, routes=tmp_path) as gateway:
        unknown = await gateway.send(raw_post(parameters(key="another-id")))
        wrong = await gateway.send(raw_post(parameters(secret="third")))

    assert (unknown.body == wrong.body) is hidden


async def test_a_wrong_method_has_the_vendors_own_code(signed: Path) -> None:
    async with running(TAKES, routes=signed) as gateway:
        reply = await gateway.send(raw_report("{}", method="PUT", target="/v2/index.php"))

    assert code_of(reply) == 1000
    assert reply.header("allow") is None


# Without credentials.


async def test_without_credentials_every_report_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "open.yaml").write_text(
        "route: open\nreceive: {provider: zstack, credentials: none}\n"
        'send: {provider: zstack, url: "${UPSTREAM}", credential: {secret: their-session}}\n'
    )
    async with running(TAKES, routes=tmp_path) as gateway:
        replies = [await gateway.send(raw_report(SAMPLE, session=session)) for session in (None, f"OAuth {SESSION}")]

    assert [reply.body for reply in replies] == [b"{}", b"{}"]
    assert all(b"their-session" in raw and SESSION.encode() not in raw for raw in gateway.upstream.received)


async def test_a_route_drops_and_changes_data_points(tmp_path: Path) -> None:
    (tmp_path / "changing.yaml").write_text(
        "route: changing\nreceive: {provider: zstack, credentials: none}\n"
        'send: {provider: zstack, url: "${UPSTREAM}", credential: {secret: their-session}}\n'
        "points: {keep: \"metric != 'dropped'\", set: {namespace: \"'theirs'\"}}\n"
    )
    async with running(TAKES, routes=tmp_path) as gateway:
        dropped = await gateway.send(raw_report(datum(metricName="dropped")))
        kept = await gateway.send(raw_report(datum(metricName="kept")))

    assert [dropped.status, kept.status] == [200, 200]
    assert [sent["params"]["namespace"] for sent in gateway.sent] == ["theirs"]
