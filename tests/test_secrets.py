"""No secret that an upstream quotes is shown or stored: in the log, a reply, a metric, the admin API, the queue."""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.app import Gateway, Settings
from gateway.core.http.request import PublicUrl
from gateway.core.http.text import format_request
from gateway.core.vendor.route import Route
from gateway.core.vendor.routing import make_snapshot
from gateway.delivery.transport import fresh
from gateway.proof.cases.resign import refresh_sample
from gateway.proof.cases.run import case_request
from gateway.specs.load import Trial, load
from tests.support.caller import exchange
from tests.support.shipped import REPORTING, ROUTES
from tests.support.upstream import Behaviour, Upstream, answers

PAGES = ("/metrics", "/api/targets", "/api/reports/rejected", "/api/routes", "/api/queue", "/api/queue/points")


@cache
def trials() -> list[Trial]:
    return load(ROUTES, {}, trials=True, strict_environment=False).trials


# Every place in which one of the shipped vendors has an error's words.
SHAPES: dict[str, Callable[[str], object]] = {
    "message": lambda text: {"code": 1006, "message": text, "error_code": "X.1", "error_msg": text},
    "error": lambda text: {"error": {"code": "SYS.1012", "status": "X", "message": text, "details": text}},
    "response": lambda text: {"Response": {"Error": {"Code": "InternalError", "Message": text}, "RequestId": "r"}},
    "errors": lambda text: {"errors": [{"code": "X", "detail": text, "title": text}]},
}


def quoting(secrets: list[str], shape: Callable[[str], object], status: int) -> Behaviour:
    """Return an upstream that quotes what it received, and the secrets."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received = quoted[0].received[-1].decode("utf-8", "replace")
        token = json.dumps({"inventory": {"uuid": "5e55100a" * 8}}).encode()  # what logging in gives
        text = " ".join([*secrets, received])
        body = token if "/login" in received.split("\n")[0] else json.dumps(shape(text)).encode()
        await answers(200 if body is token else status, body)(reader, writer)

    return behave


quoted: list[Upstream] = []


def sensitive(received: list[bytes]) -> set[str]:
    """Return the long words of headers and members that authenticate a request."""
    found: set[str] = set()
    for raw in received:
        for line in re.findall(
            r"(?im)^(?:authorization|x-[\w-]*signature|x-auth-token): *(.*)$", raw.decode("latin-1")
        ):
            found |= set(re.findall(r"[\w+/=.-]{24,}", line.replace("Signature=", " ")))
        found |= set(re.findall(r'"(?:Signature|password)": ?"([^"]+)"', raw.decode("latin-1")))
    return {word for word in found if "/" not in word or "=" in word}


@pytest.mark.parametrize("mode", ["direct", "queued"])
@pytest.mark.parametrize("status", [200, 400, 503])
@pytest.mark.parametrize("name", REPORTING)
async def test_secrets_quoted_by_an_upstream_are_masked(tmp_path: Path, name: str, status: int, mode: str) -> None:
    trial = next(each for each in trials() if each.owner == name and each.case.request is not None)
    secrets = [secret.reveal() for secret in trial.route.secrets]
    for shape in SHAPES.values():
        async with Upstream(quoting(secrets, shape, status)) as upstream:
            quoted[:] = [upstream]
            shown = await everything_shown(towards(trial.route, upstream, mode), trial, tmp_path / "data")
        words = {*secrets, *sensitive(upstream.received)}
        assert upstream.received
        assert [word for word in words if word in shown] == []


def towards(route: Route, upstream: Upstream, mode: str) -> Route:
    target = replace(route.target, url=PublicUrl("http", upstream.host), queued=mode == "queued", tls=None)
    return replace(route, target=target)


async def everything_shown(route: Route, trial: Trial, data: Path) -> str:
    """Send the sample, and return all that is logged, answered and stored of it."""
    settings = Settings(listen="127.0.0.1:0", admin="127.0.0.1:0", grace_s=1, data=data)
    gateway = Gateway(make_snapshot([route]), settings)
    with capture_logs() as logs:
        await gateway.start()
        try:
            sample = case_request(trial.case, trial.route)
            again = refresh_sample(sample, route, then_ns=trial.case.now_ns, context=fresh(), address=gateway.address)
            replies = [await exchange(gateway.address, format_request(again.request))]
            if route.is_queued:
                await until_it_failed(gateway)
            pages = [f"GET {page} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" for page in PAGES]
            replies += [await exchange(gateway.admin_address, page.encode()) for page in pages]
        finally:
            await gateway.stop()
    files = [file.read_bytes().decode("latin-1") for file in data.iterdir()]
    return "\n".join([json.dumps(logs, default=str), *(reply.text for reply in replies), *files])


async def until_it_failed(gateway: Gateway) -> None:
    async with asyncio.timeout(10):
        while True:
            reply = await exchange(gateway.admin_address, b"GET /api/queue HTTP/1.1\r\nHost: localhost\r\n\r\n")
            [target] = reply.json["targets"] or [{"attempts": 0, "dead_letter": 0, "queued": 1, "leased": 0}]
            if target["attempts"] or target["dead_letter"] or not target["queued"] + target["leased"]:
                return
            await asyncio.sleep(0.01)
