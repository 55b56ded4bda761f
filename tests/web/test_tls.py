"""The listener over TLS, over real sockets: handshakes, certificate reload and shutdown."""

import asyncio
import shutil
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import structlog

from gateway.core.http.request import Response
from gateway.tls import Pair
from gateway.web.certificate import Certificate
from gateway.web.listener import Listener, listen
from gateway.web.parser import Incoming
from gateway.web.server import HttpLimits
from tests.support.caller import Caller, call, exchange, hold
from tests.support.certificates import Authority

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


class Served:
    """A listener that shows NAME.crt of an authority."""

    def __init__(self, authority: Authority, name: str = "first") -> None:
        self.authority = authority
        self.certificate = Certificate(Pair(*authority.issue(name)))
        self.seen: list[Incoming] = []
        self.go_on = asyncio.Event()
        self.listener: Listener

    async def handle(self, incoming: Incoming) -> Response:
        self.seen.append(incoming)
        if incoming.request.target == "/slow":
            await self.go_on.wait()
        return Response(200, (), b"ok")

    @property
    def files(self) -> tuple[Path, Path]:
        folder = self.authority.file.parent
        return folder / "first.crt", folder / "first.key"

    def put(self, name: str) -> None:
        """Issue another pair, and move it to the place of the first."""
        for new, old in zip(self.authority.issue(name), self.files, strict=True):
            new.rename(old)

    def call(self) -> AbstractAsyncContextManager[Caller]:
        return call(self.listener.address, self.authority.trust())

    async def shown(self) -> str:
        """Return the name on the certificate that a new connection is shown."""
        async with self.call() as caller:
            return shown_to(caller)


def shown_to(caller: Caller) -> str:
    (((_, name),),) = caller.writer.get_extra_info("peercert")["subject"]
    return str(name)


def refreshed(served: Served) -> list[str]:
    """Let it look at its files, and return what it logs."""
    with structlog.testing.capture_logs() as logs:
        served.certificate.refresh()
    return [entry["event"] for entry in logs]


Serve = Callable[..., Awaitable[Served]]
Logged = list[MutableMapping[str, Any]]


@pytest.fixture
def logged() -> Iterator[Logged]:
    with structlog.testing.capture_logs() as logs:
        yield logs


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    started: list[Listener] = []

    async def start(**limits: float) -> Served:
        served = Served(Authority(tmp_path))
        served.listener = await listen(
            served.handle,
            "127.0.0.1:0",
            limits=HttpLimits(**limits),  # type: ignore[arg-type]
            certificate=served.certificate,
        )
        started.append(served.listener)
        return served

    yield start
    for listener in started:
        await listener.close(0)


async def ends(address: str, raw: bytes = b"") -> bytes:
    """Return what a caller reads that connects without TLS, until it is hung up on."""
    async with call(address) as caller:
        caller.send(raw)
        try:
            return await caller.rest()
        except ConnectionResetError:
            return b""


# Handshakes.


async def test_a_request_over_tls_has_the_scheme_https(serve: Serve) -> None:
    served = await serve()

    reply = await exchange(served.listener.address, GET, served.authority.trust())

    [incoming] = served.seen
    assert (reply.status, reply.body) == (200, b"ok")
    assert (incoming.request.scheme, incoming.peer) == ("https", "127.0.0.1")


async def test_several_requests_go_over_one_connection(serve: Serve) -> None:
    served = await serve()

    async with served.call() as caller:
        caller.send(GET + GET)
        replies = [await caller.parsed(), await caller.parsed()]
        caller.send(GET)
        replies.append(await caller.parsed())

    assert [reply.status for reply in replies] == [200, 200, 200]


async def test_only_http_1_1_is_negotiated(serve: Serve) -> None:
    served = await serve()
    trust = served.authority.trust()
    trust.set_alpn_protocols(["h2", "http/1.1"])

    async with call(served.listener.address, trust) as caller:
        agreed = caller.writer.get_extra_info("ssl_object").selected_alpn_protocol()

    assert agreed == "http/1.1"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_tls_below_1_2_is_rejected(serve: Serve) -> None:
    served = await serve()
    old = served.authority.trust()
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")

    with pytest.raises((ssl.SSLError, ConnectionError)):
        await exchange(served.listener.address, GET, old)

    assert served.seen == []


async def test_plain_http_on_a_tls_port_is_closed_and_logged(serve: Serve, logged: Logged) -> None:
    served = await serve()

    got = await ends(served.listener.address, GET)
    reply = await exchange(served.listener.address, GET, served.authority.trust())

    assert (b"HTTP/" in got, reply.status, len(served.seen)) == (False, 200, 1)
    assert [line["reason"] for line in logged] == ["http request"]


async def test_a_caller_that_does_not_trust_the_certificate_is_logged(serve: Serve, logged: Logged) -> None:
    served = await serve()

    with pytest.raises(ssl.SSLCertVerificationError):  # asyncio's callers do not tell the server
        await asyncio.to_thread(hold, served.listener.address, ssl.create_default_context())
    await asyncio.sleep(0.05)

    assert [line["reason"] for line in logged] == ["tlsv1 alert unknown ca"]


async def test_failed_handshakes_are_logged_once_a_second(serve: Serve, logged: Logged) -> None:
    served = await serve()

    for _ in range(20):
        await ends(served.listener.address, GET)

    assert [(line["event"], line["peer"]) for line in logged] == [("tls_handshake_failed", "127.0.0.1")]


async def test_a_caller_that_only_connects_is_not_logged(serve: Serve, logged: Logged) -> None:
    served = await serve()

    async with call(served.listener.address):
        pass
    await asyncio.sleep(0.05)

    assert logged == []


async def test_a_stalled_handshake_times_out(serve: Serve, logged: Logged) -> None:
    served = await serve(head_timeout_s=0.1)

    started = time.monotonic()
    await ends(served.listener.address, b"\x16\x03\x01")

    assert time.monotonic() - started < 2
    assert [line["reason"] for line in logged] == ["timed out"]


async def test_handshakes_in_progress_are_at_most_a_quarter_of_the_connections(serve: Serve, logged: Logged) -> None:
    served = await serve(max_connections=8)

    async with AsyncExitStack() as stack:
        first, second, third = [await stack.enter_async_context(call(served.listener.address)) for _ in range(3)]
        rest = await first.rest()
        open_callers = [not each.reader.at_eof() for each in (second, third)]

    assert (rest, open_callers) == (b"", [True, True])
    assert [line["reason"] for line in logged] == ["too many handshakes under way"]


# Certificate reload.


async def test_a_new_certificate_applies_to_new_connections_only(serve: Serve) -> None:
    served = await serve()

    async with served.call() as early:
        served.put("second")
        events = refreshed(served)
        late = await served.shown()
        early.send(GET)
        reply = await early.parsed()

    assert (shown_to(early), late, reply.status) == ("first", "second", 200)
    assert events == ["certificate_reloaded"]


async def test_a_certificate_behind_symlinks_is_reloaded_when_their_target_changes(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    for name in ("first", "second"):
        cert, key = authority.issue(name)
        (tmp_path / f"of-{name}").mkdir()
        cert.rename(tmp_path / f"of-{name}" / "tls.crt")
        key.rename(tmp_path / f"of-{name}" / "tls.key")
    (tmp_path / "data").symlink_to("of-first")
    (tmp_path / "tls.crt").symlink_to("data/tls.crt")
    (tmp_path / "tls.key").symlink_to("data/tls.key")
    certificate = Certificate(Pair(tmp_path / "tls.crt", tmp_path / "tls.key"))

    (tmp_path / "swap").symlink_to("of-second")
    (tmp_path / "swap").rename(tmp_path / "data")
    with structlog.testing.capture_logs() as logs:
        certificate.refresh()

    assert [entry["event"] for entry in logs] == ["certificate_reloaded"]


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda cert, key: key.write_text("no key"), "first.key holds no private key in PEM form"),
        (lambda cert, key: cert.write_text(""), "first.crt holds no certificate in PEM form"),
        (lambda cert, key: cert.unlink(), "first.crt cannot be read: no such file or directory"),
        (lambda cert, key: shutil.copy(cert.with_name("second.crt"), cert), "is not the key of the certificate"),
    ],
    ids=["no key", "empty", "gone", "of another key"],
)
async def test_an_invalid_pair_keeps_the_current_one_and_is_logged_once(
    serve: Serve, spoil: Callable[[Path, Path], object], problem: str
) -> None:
    served = await serve()
    served.authority.issue("second")

    spoil(*served.files)
    with structlog.testing.capture_logs() as logs:
        served.certificate.refresh()
        served.certificate.refresh()

    assert await served.shown() == "first"
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("certificate_reload_failed", "error")]
    assert logs[0]["error"].endswith(problem)


async def test_a_repaired_pair_is_loaded(serve: Serve) -> None:
    served = await serve()
    served.files[1].write_text("half a k")
    served.certificate.refresh()

    served.put("second")
    events = refreshed(served)

    assert (events, await served.shown()) == (["certificate_reloaded"], "second")


async def test_unchanged_files_are_not_read_again(serve: Serve) -> None:
    served = await serve()
    context = served.certificate.context

    events = refreshed(served)

    assert (events, served.certificate.context is context) == ([], True)


# Shutdown.


async def test_closing_answers_sent_requests(serve: Serve) -> None:
    served = await serve()

    async with served.call() as caller, asyncio.TaskGroup() as tasks:
        caller.send(GET.replace(b"/ ", b"/slow ") + GET)
        while not served.seen:
            await asyncio.sleep(0.01)
        tasks.create_task(served.listener.close(5))
        await asyncio.sleep(0.1)
        served.go_on.set()
        replies = [await caller.parsed(), await caller.parsed()]
        rest = await caller.rest()

    assert [reply.status for reply in replies] == [200, 200]
    assert (replies[1].header("connection"), rest) == ("close", b"")


async def test_closing_answers_connections_in_the_accept_queue(serve: Serve) -> None:
    served = await serve()
    trust = served.authority.trust()

    async with asyncio.TaskGroup() as tasks:
        replies = [tasks.create_task(exchange(served.listener.address, GET, trust)) for _ in range(5)]
        await asyncio.sleep(0)
        tasks.create_task(served.listener.close(5))

    assert [reply.result().status for reply in replies] == [200] * 5


async def test_closing_waits_for_a_handshake_of_a_distant_caller(serve: Serve) -> None:
    served = await serve()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = served.authority.trust().wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")

    async with call(served.listener.address) as distant, asyncio.TaskGroup() as tasks:
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        distant.send(outgoing.read())
        incoming.write(await distant.reader.read(65536))
        tasks.create_task(served.listener.close(5))
        await asyncio.sleep(0.2)
        tls.do_handshake()
        tls.write(GET)
        distant.send(outgoing.read())
        await distant.rest()

    assert len(served.seen) == 1


async def test_closing_waits_neither_for_idle_connections_nor_for_handshakes(serve: Serve) -> None:
    served = await serve()

    with await asyncio.to_thread(hold, served.listener.address, served.authority.trust()):
        async with call(served.listener.address) as silent:
            started = time.monotonic()
            await served.listener.close(20)
            took_s = time.monotonic() - started
            rest = await silent.rest()

    assert (took_s < 3, rest) == (True, b"")
