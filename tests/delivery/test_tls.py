"""Calls over TLS, over real sockets: who is trusted, who is shown a certificate, and what is said when neither fits."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from gateway.core.http.request import Request
from gateway.core.outcome.errors import UpstreamError
from gateway.core.outcome.outcome import Reason
from gateway.delivery.client import Client, Timeouts
from gateway.tls import Pair, client_context
from tests.support.certificates import LONG_AGO, Authority
from tests.support.upstream import Upstream, answers, free_port

LONG = Timeouts(connect_s=5, total_s=10)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    client = Client()
    yield client
    await client.close()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def to(upstream: Upstream, name: str = "127.0.0.1") -> Request:
    return Request("POST", "/?sign=hush", (("Host", upstream.host.replace("127.0.0.1", name)),), b"{}", "https")


@contextmanager
def fails(what: str) -> Iterator[None]:
    with pytest.raises(UpstreamError) as caught:
        yield
    outcome = caught.value.outcome
    assert outcome.reason is Reason.UPSTREAM_DOWN
    assert outcome.message.partition(": ")[2] == what


def shake_hands_once(listening: socket.socket, context: ssl.SSLContext) -> None:
    """Shake hands, and read on until the caller hangs up."""
    connection, _ = listening.accept()
    with connection.dup() as double, suppress(OSError):
        with suppress(ssl.SSLError):
            context.wrap_socket(connection, server_side=True)
        while double.recv(65536):
            pass


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_upstream_of_a_trusted_ca_is_called_by_its_name_or_address(
    client: Client, authority: Authority, name: str
) -> None:
    async with Upstream(answers(), tls=authority.guard(*authority.issue("b"))) as upstream:
        answer = await client.send(to(upstream, name), timeouts=LONG, tls=client_context(authority.file))

    assert answer.status == 200


async def test_certificate_without_key_identifiers_is_rejected_with_the_cause_and_the_setting(
    client: Client, tmp_path: Path
) -> None:
    authority = Authority(tmp_path, strict=False)
    async with Upstream(answers(), tls=authority.guard(*authority.issue("b"))) as upstream:
        with pytest.raises(UpstreamError) as caught:
            await client.send(to(upstream), timeouts=LONG, tls=client_context(authority.file))

    message = caught.value.outcome.message
    assert "certificate verify failed: " in message
    assert "; issue the certificate again with this extension, or set `tls: {strict: false}` on the target" in message
    assert upstream.received == []


async def test_without_strict_a_certificate_without_key_identifiers_is_accepted(client: Client, tmp_path: Path) -> None:
    authority = Authority(tmp_path, strict=False)
    async with Upstream(answers(), tls=authority.guard(*authority.issue("b"))) as upstream:
        lenient = client_context(authority.file, strict=False)
        answer = await client.send(to(upstream), timeouts=LONG, tls=lenient)

    assert answer.status == 200


async def test_without_strict_the_certificate_is_still_verified(client: Client, tmp_path: Path) -> None:
    authority, other = Authority(tmp_path, strict=False), Authority(tmp_path, "another CA", strict=False)
    expired = authority.issue("expired", valid_for=LONG_AGO)
    for pair, ca, what in [
        (authority.issue("b"), other, "unable to get local issuer certificate"),
        (expired, authority, "certificate has expired"),
        (
            authority.issue("c", ["c.example"]),
            authority,
            "IP address mismatch, certificate is not valid for '127.0.0.1'",
        ),
    ]:
        async with Upstream(answers(), tls=authority.guard(*pair)) as upstream:
            with fails(f"TLS failed (certificate verify failed: {what})"):
                await client.send(to(upstream), timeouts=LONG, tls=client_context(ca.file, strict=False))


async def test_streamed_answer_is_verified_too(client: Client, authority: Authority) -> None:
    trusted = client_context(authority.file)
    async with Upstream(answers(200, b"hello"), tls=authority.guard(*authority.issue("b"))) as upstream:
        async with client.stream(to(upstream), timeouts=LONG, tls=trusted) as answer:
            body = await answer.read()
        with fails("TLS failed (certificate verify failed: unable to get local issuer certificate)"):
            async with client.stream(to(upstream), timeouts=LONG):
                pass

    assert body == b"hello"


async def test_self_signed_certificate_can_be_trusted(client: Client, authority: Authority) -> None:
    cert, key = authority.issue("b")
    async with Upstream(answers(), tls=authority.guard(cert, key)) as upstream:
        answer = await client.send(to(upstream), timeouts=LONG, tls=client_context(cert))

    assert answer.status == 200


async def test_sni_is_sent(client: Client, authority: Authority) -> None:
    asked: list[str | None] = []
    context = authority.guard(*authority.issue("b"))
    context.sni_callback = lambda connection, name, context: asked.append(name)
    async with Upstream(answers(), tls=context) as upstream:
        await client.send(to(upstream, "localhost"), timeouts=LONG, tls=client_context(authority.file))

    assert asked == ["localhost"]


async def test_system_trust_applies_without_an_own_ca(
    client: Client, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Upstream(answers(), tls=authority.guard(*authority.issue("b"))) as upstream:
        with fails("TLS failed (certificate verify failed: unable to get local issuer certificate)"):
            await client.send(to(upstream), timeouts=LONG)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        pair = Pair(*authority.issue("client"))
        answer = await client.send(to(upstream), timeouts=LONG, tls=client_context(None, pair))

    assert answer.status == 200


async def test_upstream_of_another_ca_is_rejected(client: Client, authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path, "another CA")
    async with Upstream(answers(), tls=authority.guard(*authority.issue("b"))) as upstream:
        with fails("TLS failed (certificate verify failed: unable to get local issuer certificate)"):
            await client.send(to(upstream), timeouts=LONG, tls=client_context(other.file))

    assert upstream.received == []


@pytest.mark.parametrize(
    ("name", "hosts", "said"),
    [
        ("localhost", ["b.example"], "Hostname mismatch, certificate is not valid for 'localhost'"),
        ("127.0.0.1", ["127.0.0.2"], "IP address mismatch, certificate is not valid for '127.0.0.1'"),
        ("127.0.0.1", ["localhost"], "IP address mismatch, certificate is not valid for '127.0.0.1'"),
    ],
)
async def test_certificate_of_another_host_is_refused(
    client: Client, authority: Authority, name: str, hosts: list[str], said: str
) -> None:
    async with Upstream(answers(), tls=authority.guard(*authority.issue("b", hosts))) as upstream:
        with fails(f"TLS failed (certificate verify failed: {said})"):
            await client.send(to(upstream, name), timeouts=LONG, tls=client_context(authority.file))

    assert upstream.received == []


async def test_certificate_that_has_expired_is_refused(client: Client, authority: Authority) -> None:
    async with Upstream(answers(), tls=authority.guard(*authority.issue("b", valid_for=LONG_AGO))) as upstream:
        with fails("TLS failed (certificate verify failed: certificate has expired)"):
            await client.send(to(upstream), timeouts=LONG, tls=client_context(authority.file))

    assert (upstream.received, upstream.connections) == ([], 0)


async def test_client_certificate_is_presented_on_request(client: Client, authority: Authority) -> None:
    context = authority.guard(*authority.issue("b"), clients=True)
    async with Upstream(answers(), tls=context) as upstream:
        pair = Pair(*authority.issue("client"))
        answer = await client.send(to(upstream), timeouts=LONG, tls=client_context(authority.file, pair))

    assert answer.status == 200


async def test_missing_client_certificate_is_reported(client: Client, authority: Authority) -> None:
    # asyncio's server hangs up without the word that tells why.
    context = authority.guard(*authority.issue("b"), clients=True)
    async with asyncio.TaskGroup() as tasks:
        listening = socket.create_server(("127.0.0.1", 0))
        tasks.create_task(asyncio.to_thread(shake_hands_once, listening, context))
        request = Request("POST", "/", (("Host", f"127.0.0.1:{listening.getsockname()[1]}"),), b"{}", "https")
        with fails("TLS failed (tlsv13 alert certificate required)"):
            await client.send(request, timeouts=LONG, tls=client_context(authority.file))
        listening.close()


async def test_connections_are_not_shared_between_different_settings(client: Client, authority: Authority) -> None:
    trusting = client_context(authority.file)
    async with Upstream(answers(), tls=authority.guard(*authority.issue("b"))) as upstream:
        for _ in range(2):
            await client.send(to(upstream), timeouts=LONG, tls=trusting)
        with pytest.raises(UpstreamError):
            await client.send(to(upstream), timeouts=LONG)
        await client.send(to(upstream), timeouts=LONG, tls=client_context(authority.file))

    assert (len(upstream.received), upstream.connections) == (3, 2)


async def test_proxy_variables_are_ignored(
    client: Client, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{free_port()}")
    async with Upstream(answers(), tls=authority.guard(*authority.issue("b"))) as upstream:
        answer = await client.send(to(upstream), timeouts=LONG, tls=client_context(authority.file))

    assert answer.status == 200


async def test_tls_below_1_2_is_rejected(authority: Authority) -> None:
    assert client_context(authority.file).minimum_version is ssl.TLSVersion.TLSv1_2
    assert client_context(None).minimum_version is ssl.TLSVersion.TLSv1_2
