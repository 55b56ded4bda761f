"""Eviction of connections and TLS handshakes: the rule, and floods from several addresses over real sockets."""

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

from gateway.core.http.request import Response
from gateway.tls import Pair
from gateway.web.certificate import Certificate
from gateway.web.listener import Listener, listen, parse_address
from gateway.web.parser import Incoming
from gateway.web.server import Crowd, HttpLimits
from gateway.web.streaming import stream_reply
from tests.support.caller import Caller, call
from tests.support.certificates import Authority

REPORT = "POST /report HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"
UNKNOWN = "GET /unknown HTTP/1.1\r\nHost: h\r\n\r\n"
HEAD_WITHOUT_END = "POST /report HTTP/1.1\r\nHost: h\r\n"
FLOOD = 2400
HONEST = "127.0.0.9"

Open = Callable[..., Awaitable[Listener]]


async def answer(incoming: Incoming) -> Response | None:
    if incoming.request.target == "/stream":
        async with stream_reply(incoming, 200, (), 0):
            return None
    return Response(200 if incoming.request.target == "/report" else 404, (), b"")


@pytest.fixture
async def open_listener() -> AsyncIterator[Open]:
    opened: list[Listener] = []

    async def open_(certificate: Certificate | None = None, **limits: int) -> Listener:
        opened.append(await listen(answer, "127.0.0.1:0", limits=HttpLimits(**limits), certificate=certificate))
        return opened[-1]

    yield open_
    for listener in opened:
        await listener.close(0)


@pytest.fixture
def many_files() -> Iterator[None]:
    """Allow both ends of all connections in one process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4 * FLOOD:
        pytest.skip(f"needs {4 * FLOOD} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4 * FLOOD), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@asynccontextmanager
async def flood(address: str, *sources: str, number: int = FLOOD, sent: str = "") -> AsyncIterator[None]:
    """Hold connections from these addresses, in turn, each of which has sent these bytes."""
    with ExitStack() as stack:

        def connect() -> None:
            for count in range(number):
                source = (sources[count % len(sources)], 0)
                each = stack.enter_context(socket.create_connection(parse_address(address), 10, source_address=source))
                with suppress(OSError):  # closed already
                    each.sendall(sent.encode())

        async with asyncio.timeout(30):
            await asyncio.to_thread(connect)
        yield


async def status(caller: Caller, request: str = REPORT) -> int:
    caller.send(request)
    return (await caller.parsed()).status


# The rule.


def test_the_peer_with_the_most_members_loses_its_oldest() -> None:
    crowd: Crowd[str] = Crowd()
    for member, peer in (("a1", "a"), ("b1", "b"), ("b2", "b"), ("c1", "c")):
        crowd.add(member, peer)

    taken = [crowd.take() for _ in range(5)]

    assert taken == ["b1", "a1", "b2", "c1", None]


def test_a_protected_member_is_kept() -> None:
    crowd: Crowd[str] = Crowd()
    for member, peer in (("a1", "a"), ("b1", "b"), ("b2", "b")):
        crowd.add(member, peer)

    taken = [crowd.take(lambda member: member not in ("b1", "b2")) for _ in range(2)]

    assert (taken, list(crowd)) == (["a1", None], ["b1", "b2"])


def test_a_renewed_member_is_the_newest() -> None:
    crowd: Crowd[str] = Crowd()
    crowd.add("old", "a")
    crowd.add("new", "a")

    crowd.renew("old")
    crowd.discard("unknown")

    assert (crowd.take(), len(crowd)) == ("new", 1)


# Connections.


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param("", id="nothing sent"),
        pytest.param(HEAD_WITHOUT_END, id="half a head"),
        pytest.param(UNKNOWN, id="rejected and kept alive"),
        pytest.param(UNKNOWN.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"), id="rejected and not hung up"),
    ],
)
@pytest.mark.parametrize(
    "sources",
    [
        pytest.param(["127.0.0.2"], id="one address"),
        pytest.param(["127.0.0.2", "127.0.0.3", "127.0.0.4"], id="three addresses"),
    ],
)
async def test_a_new_reporter_is_served_during_a_flood(
    open_listener: Open, many_files: None, sources: list[str], sent: str
) -> None:
    listener = await open_listener()

    async with flood(listener.address, *sources, sent=sent), call(listener.address, source=HONEST) as reporter:
        assert await status(reporter) == 200


async def test_idle_connections_of_a_peer_with_few_outlive_a_flood(open_listener: Open, many_files: None) -> None:
    listener = await open_listener()

    async with AsyncExitStack() as stack:
        idle = [await stack.enter_async_context(call(listener.address, source=HONEST)) for _ in range(20)]
        await stack.enter_async_context(flood(listener.address, "127.0.0.2", "127.0.0.3"))

        assert [await status(each) for each in idle] == [200] * 20


async def test_all_connections_of_a_proxy_are_kept_while_there_is_room(open_listener: Open) -> None:
    listener = await open_listener(max_connections=20)

    async with AsyncExitStack() as stack:
        idle = [await stack.enter_async_context(call(listener.address)) for _ in range(15)]

        assert [await status(each) for each in idle] == [200] * 15


@pytest.mark.parametrize(
    "accepted",
    [pytest.param(REPORT, id="whole reply"), pytest.param(REPORT.replace("/report", "/stream"), id="streamed reply")],
)
async def test_connections_with_an_accepted_report_are_not_evicted(open_listener: Open, accepted: str) -> None:
    listener = await open_listener(max_connections=20)

    async with AsyncExitStack() as stack:
        served = []
        for _ in range(18):
            served.append(await stack.enter_async_context(call(listener.address)))
            assert await status(served[-1], accepted) == 200
        await stack.enter_async_context(flood(listener.address, "127.0.0.2", number=100))

        assert [await status(each) for each in served] == [200] * 18


# Handshakes.


async def test_a_new_reporter_is_served_during_a_flood_of_silent_handshakes(
    open_listener: Open, many_files: None, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    listener = await open_listener(Certificate(Pair(*authority.issue("first"))))

    async with (
        flood(listener.address, "127.0.0.2", "127.0.0.3"),
        call(listener.address, authority.trust(), source=HONEST) as reporter,
    ):
        assert await status(reporter) == 200


async def test_a_handshake_of_a_peer_with_few_outlives_a_flood(open_listener: Open, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    listener = await open_listener(Certificate(Pair(*authority.issue("first"))), max_connections=40)

    async with call(listener.address, source=HONEST) as slow, flood(listener.address, "127.0.0.2", number=100):
        await slow.writer.start_tls(authority.trust(), server_hostname="127.0.0.1")

        assert await status(slow) == 200
