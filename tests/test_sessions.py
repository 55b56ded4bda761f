"""Logging in, in both directions, over real sockets: a program that logs in first, and an upstream that wants it."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.app import Gateway, Settings
from gateway.core.vendor.routing import make_snapshot
from gateway.specs.load import load
from gateway.tls import Pair
from tests.support.caller import Reply
from tests.support.certificates import Authority
from tests.support.gateway import datum, raw_report, reloading, running
from tests.support.upstream import Behaviour, Upstream, answers, in_turn

PASSWORD = "a password"
HASHED = hashlib.sha512(PASSWORD.encode()).hexdigest()
LOGIN = "/zstack/v1/accounts/login"

RECEIVES = """
route: in
receive: {provider: zstack, credentials: [{key: admin, secret: a password}]}
send: {provider: tencent-receiver, url: "${UPSTREAM}", credential: {key: id, secret: key}, given: {region: sh}}
"""
SENDS = """
route: out
receive: {provider: zstack, credentials: [{secret: "00000000000000000000000000000000"}]}
send: {provider: zstack, url: "${UPSTREAM}", credential: {key: admin, secret: a password, recipe: zstack-session}}
"""

# The vendor's provider, cut short, for what a test adds to it.
LOGS_IN = """
provider: zstack
receive:
  request: {method: POST, path: /zstack/v1/zwatch/metrics, body: json}
  verify: [zstack-session]
  each: {item: body.params.data}
  point: {metric: item.metricName, value: item.value}
send:
  item: metric
  request: {method: POST, path: /in, json: items}
  sign: zstack-session
  login:
    for: zstack-session
    request: {method: PUT, path: /zstack/v1/accounts/login, json: {}}
    sign: zstack-login
    token: body.inventory.uuid
    lifetime_s: 60
"""
POLLS = """\
  poll: {every_s: 0.05}
  outcome:
    - {when: body.location, poll: body.location}
    - {status: 503, code: UNAUTHENTICATED}
"""
DECLARES = """\
  declare:
    unique_by: [metric]
    item: metric
    request: {method: POST, path: /meta, json: items}
    outcome: [{message: text}]
"""


def login(password: str = HASHED, member: str = "logInByAccount") -> bytes:
    body = json.dumps({member: {"accountName": "admin", "password": password}})
    return raw_report(body, session=None, method="PUT", target=LOGIN)


def token_of(reply: Reply) -> str:
    token: str = json.loads(reply.text)["inventory"]["uuid"]
    return token


def routes(tmp_path: Path, text: str, name: str = "routes") -> Path:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "route.yaml").write_text(text)
    return folder


@pytest.mark.parametrize("member", ["logInByAccount", "logIn"])
async def test_program_logs_in_reports_and_logs_out(tmp_path: Path, member: str) -> None:
    async with running(routes=routes(tmp_path, RECEIVES)) as gateway:
        token = token_of(await gateway.send(login(member=member)))
        reported = await gateway.send(raw_report(datum(), session=f"OAuth {token}"))
        left = await gateway.send(
            raw_report(b"", session=f"OAuth {token}", method="DELETE", target=f"/zstack/v1/accounts/sessions/{token}")
        )
        again = await gateway.send(raw_report(datum(), session=f"OAuth {token}"))

    assert (reported.status, reported.text) == (200, "{}")
    assert (left.status, left.text) == (200, "{}")
    assert again.status == 503
    assert "ID.1001" in again.text


async def test_wrong_password_is_rejected_in_the_vendors_dialect(tmp_path: Path) -> None:
    async with running(routes=routes(tmp_path, RECEIVES)) as gateway:
        reply = await gateway.send(login(hashlib.sha512(b"wrong").hexdigest()))

    assert reply.status == 503
    assert "ID.1000" in reply.text


async def test_a_session_survives_a_restart_and_no_other_secret_makes_one(tmp_path: Path) -> None:
    folder = routes(tmp_path, RECEIVES)
    async with running(routes=folder) as first:
        token = token_of(await first.send(login()))
    async with running(routes=folder) as second:
        reported = await second.send(raw_report(datum(), session=f"OAuth {token}"))
        forged = await second.send(raw_report(datum(), session=f"OAuth {token[:-1]}{'0' if token[-1] != '0' else '1'}"))

    assert reported.status == 200
    assert forged.status == 503


async def test_the_gateway_serves_while_a_reload_derives_the_keys_of_new_accounts(tmp_path: Path) -> None:
    accounts = ", ".join(f"{{key: account-{number}, secret: a password of many}}" for number in range(10))
    async with Upstream(answers()) as upstream:
        text = RECEIVES.replace("${UPSTREAM}", upstream.url)
        folder = routes(tmp_path, text)
        async with reloading(folder, upstream) as gateway:
            token = token_of(await gateway.send(login()))
            (folder / "route.yaml").write_text(text.replace("[{key", f"[{accounts}, {{key"))
            ticks = 0
            async with asyncio.TaskGroup() as group:
                reload = group.create_task(gateway.reload())
                while not reload.done():
                    await asyncio.sleep(0.01)
                    ticks += 1
            reported = await gateway.send(raw_report(datum(), session=f"OAuth {token}"))

    assert reload.result().json["ok"]
    assert ticks > 10
    assert "ID.1001" not in reported.text


class LoggingIn:
    """An upstream that counts logins and takes reports of the session it gave last."""

    def __init__(self, *, delay_s: float = 0, answers_login: bool = True) -> None:
        self.logins = 0
        self.token = ""
        self.received: list[bytes] = []  # those of the `Upstream` that behaves so
        self._delay_s = delay_s
        self._answers_login = answers_login

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, _, body = self.received[-1].partition(b"\r\n\r\n")
        status, content = await self._answer(head, body)
        text = json.dumps(content).encode()
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(text), text))

    async def _answer(self, head: bytes, body: bytes) -> tuple[int, Any]:
        if b" /zstack/v1/accounts/login " in head:
            await asyncio.sleep(self._delay_s)
            self.logins += 1
            self.token = f"{self.logins:032x}"
            right = json.loads(body) == {"logInByAccount": {"accountName": "admin", "password": HASHED}}
            return (200, {"inventory": {"uuid": self.token}}) if right and self._answers_login else (503, {})
        if f"OAuth {self.token}".encode() in head:
            return 200, {}
        return 503, {"error": {"code": "ID.1001", "description": "session expired"}}


REPORT = raw_report(datum(), session="OAuth 00000000000000000000000000000000")


async def test_many_reports_wait_for_one_login(tmp_path: Path) -> None:
    upstream = LoggingIn(delay_s=0.1)
    async with running(upstream, routes=routes(tmp_path, SENDS)) as gateway:
        upstream.received = gateway.upstream.received
        replies = await asyncio.gather(*(gateway.send(REPORT) for _ in range(20)))

    assert {reply.status for reply in replies} == {200}
    assert upstream.logins == 1


async def test_ended_session_is_renewed_and_the_report_arrives(tmp_path: Path) -> None:
    upstream = LoggingIn()
    async with running(upstream, routes=routes(tmp_path, SENDS)) as gateway:
        upstream.received = gateway.upstream.received
        await gateway.send(REPORT)
        upstream.token = "ended"
        reply = await gateway.send(REPORT)

    assert reply.status == 200
    assert upstream.logins == 2


async def test_session_renewed_during_polling_does_not_repeat_the_report(tmp_path: Path) -> None:
    logged_in = [answers(body=b'{"inventory": {"uuid": "%032x"}}' % number) for number in (1, 2)]
    job, ended = answers(body=b'{"location": "/jobs/1"}'), answers(503)
    folder = routes(tmp_path, LOGS_IN + POLLS + "---" + SENDS)
    async with running(in_turn(logged_in[0], job, ended, logged_in[1], job, answers(204)), routes=folder) as gateway:
        await gateway.send(REPORT)

    asked = [raw.split(b" HTTP/")[0] for raw in gateway.upstream.received]
    assert asked == [
        b"PUT /zstack/v1/accounts/login",
        b"POST /in",
        b"GET /jobs/1",
        b"PUT /zstack/v1/accounts/login",
        b"GET /jobs/1",
        b"GET /jobs/1",
    ]
    assert [b"%032x" % number in gateway.upstream.received[-1] for number in (1, 2)] == [False, True]


async def test_session_quoted_by_the_upstream_is_masked(tmp_path: Path) -> None:
    logged_in = answers(body=b'{"inventory": {"uuid": "5e55100000000000000000000000000d"}}')
    quoted = answers(503, b'{"error": {"code": "SYS.1006", "details": "no 5e55100000000000000000000000000d here"}}')
    async with running(in_turn(logged_in, quoted), routes=routes(tmp_path, SENDS)) as gateway:
        reply = await gateway.send(REPORT)

    assert '"details":"no *** here"' in reply.text


async def test_session_quoted_in_a_declaration_answer_is_masked_for_all_waiting_calls(
    tmp_path: Path,
) -> None:
    token = b"5e55100000000000000000000000000d"
    logged_in = answers(body=b'{"inventory": {"uuid": "%s"}}' % token)
    folder = routes(tmp_path, LOGS_IN + DECLARES + "---" + SENDS)
    async with running(in_turn(logged_in, answers(400, token + b" may not")), routes=folder) as gateway:
        replies = await asyncio.gather(*(gateway.send(REPORT) for _ in range(5)))

    assert all("*** may not" in reply.text for reply in replies)


async def test_failed_login_is_an_outage_and_not_repeated_by_waiting_calls(tmp_path: Path) -> None:
    upstream = LoggingIn(delay_s=0.1, answers_login=False)
    async with running(upstream, routes=routes(tmp_path, SENDS)) as gateway:
        upstream.received = gateway.upstream.received
        replies = await asyncio.gather(*(gateway.send(REPORT) for _ in range(10)))

    assert {reply.status for reply in replies} == {503}
    assert all("login to" in reply.text and HASHED not in reply.text for reply in replies)
    assert upstream.logins == 1


async def test_gateway_logs_in_to_another_gateway(tmp_path: Path) -> None:
    async with (
        playing_the_vendor(tmp_path) as vendor,
        running(routes=routes(tmp_path, SENDS), environ={"UPSTREAM": vendor}) as gateway,
    ):
        reply = await gateway.send(REPORT)

    assert (reply.status, reply.text) == (200, "{}")


async def test_the_gateway_logs_in_over_the_tls_of_its_target(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    folder = routes(tmp_path, SENDS.replace("send: {", f"send: {{tls: {{ca: {authority.file}}}, "))
    async with (
        playing_the_vendor(tmp_path, Pair(*authority.issue("vendor"))) as vendor,
        running(routes=folder, environ={"UPSTREAM": vendor}) as gateway,
    ):
        reply = await gateway.send(REPORT)

    assert (reply.status, reply.text) == (200, "{}")


@asynccontextmanager
async def playing_the_vendor(folder: Path, tls: Pair | None = None) -> AsyncIterator[str]:
    async with Upstream(TAKES) as upstream:
        specs = load(routes(folder, RECEIVES, "vendor"), {"UPSTREAM": upstream.url})
        snapshot = make_snapshot(list(specs.routes.values()))
        gateway = Gateway(snapshot, Settings(listen="127.0.0.1:0", tls=tls, admin=None, grace_s=0))
        await gateway.start()
        try:
            yield f"{'https' if tls else 'http'}://{gateway.address}"
        finally:
            await gateway.stop()


TAKES: Behaviour = answers(body=b'{"code":0}')


# The calls of a relay carry a session too.

RELAYS = """
provider: passing
relay: true
receive: {request: {method: POST, path: /passing, body: json}, verify: [zstack-session]}
send:
  request: {method: POST, path: /passed, json: body}
  sign: [zstack-session]
  login:
    for: zstack-session
    request: {method: PUT, path: /zstack/v1/accounts/login, json: {logInByAccount: {}}}
    sign: zstack-login
    token: body.inventory.uuid
    lifetime_s: 60
---
route: passing
receive: {provider: passing, from: [127.0.0.1/32], credentials: [{secret: theirs}]}
send: {provider: passing, url: "${UPSTREAM}", credential: {key: admin, secret: a password}}
"""


class Unauthorized(LoggingIn):
    """Answers 401, as most do, where the session has ended."""

    async def _answer(self, head: bytes, body: bytes) -> tuple[int, Any]:
        status, content = await super()._answer(head, body)
        return (401, {"ended": True}) if status == 503 else (status, content)


async def test_relay_renews_an_expired_session(tmp_path: Path) -> None:
    upstream = Unauthorized()
    call = raw_report("{}", session="OAuth theirs", target="/passing")
    async with running(upstream, routes=routes(tmp_path, RELAYS)) as gateway:
        upstream.received = gateway.upstream.received
        first = await gateway.send(call)
        upstream.token = "ended"
        second = await gateway.send(call)

    assert [(reply.status, reply.text) for reply in (first, second)] == [(200, "{}"), (200, "{}")]
    assert upstream.logins == 2


class Forbidding(LoggingIn):
    """Lets everyone log in, and nobody do anything."""

    async def _answer(self, head: bytes, body: bytes) -> tuple[int, Any]:
        status, content = await super()._answer(head, body)
        return (status, content) if b"/login " in head else (401, {"theirs": 1})


async def test_session_is_renewed_once_before_the_rejection_is_passed_on(tmp_path: Path) -> None:
    upstream = Forbidding()
    async with running(upstream, routes=routes(tmp_path, RELAYS)) as gateway:
        upstream.received = gateway.upstream.received
        reply = await gateway.send(raw_report("{}", session="OAuth theirs", target="/passing"))

    assert (reply.status, reply.json) == (401, {"theirs": 1})
    assert upstream.logins == 2
