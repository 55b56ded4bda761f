"""A gateway in this process, wired as `gateway serve` wires it, between real sockets: a caller and a fake upstream."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from gateway.app import Gateway, Settings
from gateway.core.vendor.route import Route
from gateway.core.vendor.routing import make_snapshot
from gateway.reload import Origin
from gateway.specs.load import Specs, load
from tests.support.caller import Caller, Reply, call, exchange
from tests.support.upstream import Behaviour, Upstream, answers

ROUTES = Path(__file__).parents[2] / "routes.d"
SESSION = "b86c9016b4f24953a9edefb53ca0678c"
KEY_ID, KEY = "an-id", "the-key-of-an-id"
# What the shipped routes need.
ENVIRON = {
    "ZSTACK_SESSION": SESSION,
    "TENCENT_SECRET_ID": KEY_ID,
    "TENCENT_SECRET_KEY": KEY,
    "HUAWEI_ACCESS_KEY": "another-id",
    "HUAWEI_SECRET_KEY": "the-key-of-another-id",
    "JD_KEY": "a-jd-key",
    "JD_SECRET": "the-key-of-a-jd-key",
    "SCP_KEY": "an-scp-key",
    "SCP_SECRET": "the-key-of-an-scp-key",
    "ZSTACK_PASSWORD": "a-password",
}

TARGET = "/zstack/v1/zwatch/metrics"
SAMPLE = (
    '{"params":{"namespace":"MyNameSpace","data":'
    '[{"metricName":"UserDefinedName","value":100.01,"labels":{"label1":"value1"}}]}}'
)
# The same as its upstream gets it, without what signs it.
SAMPLE_SENT = {
    "Action": "PutMonitorData",
    "Namespace": "MyNameSpace",
    "Data": [{"dimensions": {"label1": "value1"}, "metricName": "UserDefinedName", "value": 100.01}],
}

NOWHERE = "http://upstream.invalid"

Change = Callable[[Route], Route]
Read = Callable[[Path], Specs]


def says(code: int, message: str = "OK") -> Behaviour:
    """Answer as the target of the shipped route does."""
    body = json.dumps({"code": code, "message": message}).encode()
    return answers(body=body, headers=(("Content-Type", "application/json"),))


def raw_report(
    body: str | bytes = SAMPLE,
    *headers: str,
    session: str | None = f"OAuth {SESSION}",
    method: str = "POST",
    target: str = TARGET,
) -> bytes:
    """Return a report as bytes; `session` None leaves Authorization out."""
    content = body.encode() if isinstance(body, str) else body
    lines = [f"{method} {target} HTTP/1.1", "Host: h", "Content-Type: application/json;charset=UTF-8"]
    lines += [f"Authorization: {session}"] if session is not None else []
    lines += [*headers, f"Content-Length: {len(content)}", "", ""]
    return "\r\n".join(lines).encode() + content


def datum(**members: Any) -> str:
    """Return the body of a report of one data point; a member that is None is left out."""
    members = {"metricName": "m", "value": 1, "labels": {"a": "b"}} | members
    data = [{name: value for name, value in members.items() if value is not None}]
    return json.dumps({"params": {"namespace": "n", "data": data}})


TAKEN = says(0)


@dataclass(frozen=True, slots=True)
class Running:
    """A gateway and its upstream, both of them listening."""

    gateway: Gateway
    upstream: Upstream

    def call(self) -> AbstractAsyncContextManager[Caller]:
        return call(self.gateway.address)

    async def send(self, raw: bytes) -> Reply:
        """Send one request on a connection of its own."""
        return await exchange(self.gateway.address, raw)

    async def probe(
        self, path: str, method: str = "GET", *headers: str, host: str = "localhost", body: str = ""
    ) -> Reply:
        """Ask the admin port."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
        lines += [f"Content-Length: {len(body)}"] if body else []
        async with call(self.gateway.admin_address) as caller:
            caller.send("\r\n".join([*lines, "", body]))
            if method != "HEAD":
                return await caller.parsed()
            head = await caller.head()
            return Reply(int(head.split(" ")[1]), (), await caller.rest())

    async def reload(self) -> Reply:
        return await self.probe("/api/reload", "POST", "X-Gateway-Admin: 1")

    async def counted(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels."""
        families = text_string_to_metric_families((await self.probe("/metrics")).text)
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    @property
    def sent(self) -> list[Any]:
        """The JSON bodies that the upstream got."""
        return [json.loads(raw.partition(b"\r\n\r\n")[2]) for raw in self.upstream.received]


@cache
def _loaded(folder: Path, *environ: tuple[str, str]) -> tuple[Route, ...]:
    """Load once for all tests: a test's own upstream is filled in afterwards."""
    specs = load(folder, {"TENCENT_URL": NOWHERE, "UPSTREAM": NOWHERE, **dict(environ)})
    assert not specs.diagnostics.has_errors, "\n".join(map(str, specs.diagnostics))
    return specs.snapshot.routes


def _towards(upstream: Upstream, route: Route) -> Route:
    if route.target.url.host != NOWHERE.removeprefix("http://"):
        return route
    return replace(route, target=replace(route.target, url=replace(route.target.url, host=upstream.host)))


@asynccontextmanager
async def running(
    behaviour: Behaviour = TAKEN,
    *,
    routes: Path = ROUTES,
    environ: Mapping[str, str] = ENVIRON,
    change: Change = lambda route: route,
    **settings: Any,
) -> AsyncIterator[Running]:
    """Run a gateway whose routes report to an upstream of that behaviour; `change` makes each route another one."""
    async with Upstream(behaviour) as upstream:
        snapshot = make_snapshot([change(_towards(upstream, route)) for route in _loaded(routes, *environ.items())])
        ends_at_once = {"grace_s": 0.0}
        gateway = Gateway(snapshot, Settings(listen="127.0.0.1:0", admin="127.0.0.1:0", **(ends_at_once | settings)))
        await gateway.start()
        try:
            yield Running(gateway, upstream)
        finally:
            await gateway.stop()


@asynccontextmanager
async def reloading(
    folder: Path,
    upstream: Upstream,
    *,
    start: Read = load,
    again: Read | None = None,
    watch: bool = False,
    **settings: Any,
) -> AsyncIterator[Running]:
    """Run a gateway with the routes of a folder, which `start` reads at first; `again`, where given, from then on."""
    first, read = start(folder), again or start
    assert not first.diagnostics.has_errors, "\n".join(map(str, first.diagnostics))
    origin = Origin(folder=folder, load=lambda: read(folder), first=first, watch=watch)
    local = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "grace_s": 0.0}
    gateway = Gateway(first.snapshot, Settings(**(local | settings)), origin=origin)
    await gateway.start()
    try:
        yield Running(gateway, upstream)
    finally:
        await gateway.stop()


def with_deadline(timeout_s: float) -> Change:
    return lambda route: replace(route, target=replace(route.target, timeout_s=timeout_s))
