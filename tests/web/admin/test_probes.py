"""The admin port, over real sockets."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.app import Gateway, Settings
from gateway.core.vendor.routing import make_snapshot
from gateway.telemetry import Telemetry
from gateway.web.admin.app import Admin
from gateway.web.admin.guard import Guard
from gateway.web.admin.probes import Probes
from gateway.web.listener import listen
from tests.support.caller import call, exchange
from tests.support.gateway import TARGET, Running, datum, raw_report, running


@pytest.mark.parametrize(("path", "body"), [("/healthz", b"ok\n"), ("/readyz", b"ready\n"), ("/healthz?x=1", b"ok\n")])
async def test_a_running_gateway_is_healthy_and_ready(path: str, body: bytes) -> None:
    async with running() as gateway:
        reply = await gateway.probe(path)

    assert (reply.status, reply.body) == (200, body)
    assert reply.header("content-type") == "text/plain; charset=utf-8"
    assert reply.header("server") is None


async def test_a_process_that_is_starting_or_stopping_is_healthy_and_not_ready() -> None:
    listener = await listen(Admin(Probes(lambda: False, Telemetry()), Guard("127.0.0.1"), {}), "127.0.0.1:0")
    ready = await exchange(listener.address, b"GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n")
    healthy = await exchange(listener.address, b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
    await listener.close(0)

    assert (ready.status, ready.body) == (503, b"not ready\n")
    assert (healthy.status, healthy.body) == (200, b"ok\n")


async def test_a_stopped_gateway_closes_its_ports() -> None:
    async with running() as gateway:
        await gateway.gateway.stop()

        with pytest.raises(ConnectionRefusedError):
            await gateway.probe("/readyz")
        with pytest.raises(ConnectionRefusedError):
            await gateway.send(raw_report())


async def test_a_gateway_whose_address_is_taken_leaves_nothing_open() -> None:
    async with running() as first:
        second = Gateway(make_snapshot([]), Settings(listen=first.gateway.address, admin="127.0.0.1:0"))
        with pytest.raises(OSError, match="in use"):
            await second.start()

        with pytest.raises(ConnectionRefusedError):
            async with call(second.admin_address):
                pass


async def test_metrics_are_prometheus_text(gateway: Running) -> None:
    reply = await gateway.probe("/metrics")

    names = {family.name for family in text_string_to_metric_families(reply.text)}
    assert reply.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    assert names >= {"gateway_build_info", "gateway_reports", "gateway_points", "gateway_report_seconds"}


async def test_label_values_come_from_specs_and_not_from_callers(gateway: Running) -> None:
    await gateway.send(raw_report(target="/unheard-of"))
    await gateway.send(raw_report(session="OAuth unheard-of"))

    assert "unheard-of" not in (await gateway.probe("/metrics")).text


async def test_unmapped_members_are_counted(gateway: Running) -> None:
    await gateway.send(raw_report(datum(colour="red", shape="round")))

    assert 'gateway_ignored_members_total{route="zstack-to-tencent"} 2.0' in (await gateway.probe("/metrics")).text


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_head_is_answered_without_a_body(gateway: Running, path: str) -> None:
    reply = await gateway.probe(path, "HEAD")

    assert (reply.status, reply.body) == (200, b"")


@pytest.mark.parametrize("path", ["/", "/health", "/healthz/", TARGET])
async def test_an_unknown_path_gets_404(gateway: Running, path: str) -> None:
    reply = await gateway.probe(path)

    assert (reply.status, reply.header("content-type")) == (404, "application/json")
    assert reply.json == {
        "code": "NOT_FOUND",
        "message": f"unknown path {path!r}; GET /api lists the paths",
    }


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_an_unknown_method_gets_405_and_allow(gateway: Running, method: str) -> None:
    reply = await gateway.probe("/healthz", method)

    assert (reply.status, reply.header("allow")) == (405, "GET, HEAD")


async def test_the_port_of_reporters_has_no_probes(gateway: Running) -> None:
    reply = await gateway.send(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n")

    assert reply.status == 404
