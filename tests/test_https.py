"""TLS on both sides of the gateway as people run it: real processes, real certificates."""

import asyncio
import json
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.caller import call, exchange, hold
from tests.support.certificates import Authority
from tests.support.gateway import ENVIRON, ROUTES, SESSION, raw_report, says
from tests.support.processes import Command, command
from tests.support.upstream import Upstream, hangs

ROUTE = (ROUTES / "zstack-to-tencent.yaml").read_text()
TLS = "send:\n  tls: {ca: ca.pem, cert: client.crt, key: client.key}\n"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ca")


@pytest.fixture
def routes(tmp_path: Path, authority: Authority) -> Path:
    """The shipped route, and beside it the files that its calls are made with."""
    authority.issue("client", [])
    (tmp_path / "route.yaml").write_text(ROUTE.replace("send:\n", TLS, 1))
    return tmp_path


@asynccontextmanager
async def serving(authority: Authority, routes: Path, upstream: Upstream) -> AsyncIterator[tuple[Command, str]]:
    """Run `gateway serve` by https, its upstream by https too."""
    cert, key = authority.issue("gateway")
    options = ("--routes", str(routes), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    environ = ENVIRON | {
        "TENCENT_URL": upstream.url,
        "GATEWAY_TLS_CERT": str(cert),
        "GATEWAY_TLS_KEY": str(key),
    }
    async with command("serve", *options, environ=environ) as gateway:
        listening = await gateway.event("listening")
        assert listening["tls"] is True
        yield gateway, listening["address"]


def guarded(authority: Authority) -> ssl.SSLContext:
    """Return the context of an upstream that lets in whom this CA knows."""
    return authority.guard(*authority.issue("upstream"), clients=True)


async def test_a_report_goes_by_https_all_the_way(authority: Authority, routes: Path) -> None:
    async with (
        Upstream(says(0), tls=guarded(authority)) as upstream,
        serving(authority, routes, upstream) as (_, address),
    ):
        options = ("--url", f"https://{address}", "--ca", str(authority.file), "--secret", "env:REPORTED")
        async with command("report", "zstack", *options, environ={"REPORTED": SESSION}) as report:
            code, output = await report.end()
        [raw] = upstream.received

    assert (code, output) == (0, "OK: 1 data point\n")
    assert json.loads(raw.partition(b"\r\n\r\n")[2])["Namespace"] == "gateway"


async def test_strict_false_delivers_to_an_upstream_whose_certificate_has_no_key_identifiers(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca", strict=False)
    async with Upstream(says(0), tls=authority.guard(*authority.issue("upstream"))) as upstream:
        replies = {}
        for strict in ("true", "false"):
            tls = f"send:\n  tls: {{ca: ca.pem, strict: {strict}}}\n"
            (tmp_path / "route.yaml").write_text(ROUTE.replace("send:\n", tls, 1))
            options = ("--routes", str(tmp_path), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
            async with command("serve", *options, environ=ENVIRON | {"TENCENT_URL": upstream.url}) as gateway:
                address = (await gateway.event("listening"))["address"]
                replies[strict] = await exchange(address, raw_report())

    assert [reply.status for reply in replies.values()] == [503, 200]
    assert "`tls: {strict: false}`" in replies["true"].json["error"]["details"]
    assert len(upstream.received) == 1


async def test_changed_certificate_is_used_while_connections_stay_open(authority: Authority, routes: Path) -> None:
    async with (
        Upstream(says(0), tls=guarded(authority)) as upstream,
        serving(authority, routes, upstream) as (gateway, address),
        call(address, authority.trust()) as early,
    ):
        other = Authority(routes, "another-ca")
        for new, old in zip(other.issue("another"), (routes / "gateway.crt", routes / "gateway.key"), strict=True):
            new.rename(old)
        await gateway.event("certificate_reloaded")
        early.send(raw_report())
        replies = [await early.parsed(), await exchange(address, raw_report(), other.trust())]

    assert [reply.status for reply in replies] == [200, 200]


async def test_sigterm_answers_every_report_that_was_sent(authority: Authority, routes: Path) -> None:
    answer = asyncio.Event()

    async def takes_later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answer.wait()
        await says(0)(reader, writer)

    route = routes / "route.yaml"
    route.write_text(route.read_text().replace("mode: direct", "mode: direct, coalesce: false"))
    async with (
        Upstream(takes_later, tls=guarded(authority)) as upstream,
        serving(authority, routes, upstream) as (gateway, address),
    ):
        trust = authority.trust()
        async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
            replies = [tasks.create_task(exchange(address, raw_report(), trust)) for _ in range(20)]
            while len(upstream.received) < 20:
                await asyncio.sleep(0.01)
            gateway.signal(signal.SIGTERM)
            await gateway.event("stopping")
            answer.set()
        code, _ = await gateway.end()

    assert [reply.result().status for reply in replies] == [200] * 20
    assert code == 0


async def test_idle_connection_does_not_delay_the_shutdown(authority: Authority, routes: Path) -> None:
    async with Upstream(hangs) as upstream, serving(authority, ROUTES, upstream) as (gateway, address):
        with await asyncio.to_thread(hold, address, authority.trust()):
            gateway.signal(signal.SIGTERM)
            async with asyncio.timeout(10):
                code, _ = await gateway.end()

    assert code == 0


async def test_plain_http_on_a_tls_port_is_closed_and_logged(authority: Authority) -> None:
    async with Upstream(says(0)) as upstream, serving(authority, ROUTES, upstream) as (gateway, address):
        async with call(address) as caller:
            caller.send(raw_report())
            rest = await caller.rest()
        reply = await exchange(address, raw_report(), authority.trust())
        gateway.signal(signal.SIGTERM)
        code, _ = await gateway.end()

    assert (b"HTTP/" in rest, reply.status, code) == (False, 200, 0)
    assert any("tls_handshake_failed" in line and "http request" in line for line in gateway.log)


async def test_sink_supports_https(authority: Authority) -> None:
    cert, key = authority.issue("stand-in")
    listen = ("--listen", "127.0.0.1:0", "--tls-cert", str(cert), "--tls-key", str(key))
    async with command("sink", "zstack", *listen) as sink:
        url = f"https://{(await sink.event('listening'))['address']}"
        options = ("--url", url, "--ca", str(authority.file), "--secret", "env:REPORTED")
        async with command("report", "zstack", *options, environ={"REPORTED": SESSION}) as report:
            code, _ = await report.end()
        arrived = json.loads(await sink.line())

    assert (code, arrived["metric"]) == (0, "gateway.test")
