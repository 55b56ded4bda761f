"""Reload: what changes is taken into use at once and as a whole, what is wrong is not, and nobody is disturbed."""

import asyncio
import os
import shutil
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.core.vendor.routing import Snapshot
from gateway.reload import Origin, Reloader
from gateway.specs.load import Specs, load
from gateway.telemetry import Telemetry
from tests.support.caller import exchange
from tests.support.gateway import SESSION, TAKEN, TARGET, Running, datum, raw_report, reloading, says
from tests.support.processes import command
from tests.support.upstream import Upstream, answers
from tests.test_sessions import LoggingIn, login, token_of

SOON_S = 10.0
BAD = "route: bad\nreceive: {provider: nobody, credentials: none}\nsend: {provider: nobody}\n"
STORM_S = float(os.environ.get("GATEWAY_SOAK_S", "2"))


def route(upstream: Upstream, name: str = "first", *, secret: str = SESSION, to: str = "") -> str:
    """Return a route whose reporters have its name before the path."""
    sends = to or "provider: tencent-receiver, credential: {key: id, secret: key}, given: {region: sh}"
    return (
        f"route: {name}\n"
        f"receive: {{provider: zstack, path: /{name}, from: [127.0.0.0/8], credentials: [{{secret: {secret}}}]}}\n"
        f"send: {{url: '{upstream.url}', {sends}}}\n"
    )


def report(name: str = "first", session: str = SESSION) -> bytes:
    return raw_report(datum(), session=f"OAuth {session}", target=f"/{name}{TARGET}")


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream(TAKEN) as upstream:
        yield upstream


@pytest.fixture
def routes(tmp_path: Path, upstream: Upstream) -> Path:
    """A folder with one route."""
    folder = tmp_path / "routes.d"
    folder.mkdir()
    (folder / "first.yaml").write_text(route(upstream))
    return folder


async def state(gateway: Running) -> Any:
    return (await gateway.probe("/api/reload")).json


async def until(gateway: Running, **members: Any) -> Any:
    """Wait until the last reload looks like that."""
    async with asyncio.timeout(SOON_S):
        while not members.items() <= (seen := await state(gateway)).items():
            await asyncio.sleep(0.02)
    return seen


# What is taken into use, and what is not.


async def test_reload_adds_and_removes_routes(routes: Path, upstream: Upstream) -> None:
    async with reloading(routes, upstream) as gateway:
        (routes / "first.yaml").write_text(route(upstream, "second"))
        before = [(await gateway.send(report(name))).status for name in ("first", "second")]
        reply = await gateway.reload()
        after = [(await gateway.send(report(name))).status for name in ("first", "second")]

    assert (before, after) == ([200, 404], [404, 200])
    assert (reply.status, reply.json["generation"], reply.json["cause"]) == (200, 2, "request")


async def test_bad_file_keeps_the_old_routes_and_is_reported_everywhere(routes: Path, upstream: Upstream) -> None:
    async with reloading(routes, upstream) as gateway:
        (routes / "bad.yaml").write_text(BAD)
        reply = await gateway.reload()
        reported = await gateway.send(report())
        success = await gateway.counted("gateway_reload_success")
        failed = await gateway.counted("gateway_reloads_total", result="failed")
        last = await state(gateway)

    assert reply.status == 422
    assert reply.json.items() >= {"ok": False, "generation": 1, "routes": 1, "errors": 2}.items()
    assert "no provider is named 'nobody'" in reply.json["diagnostics"][0]["text"]
    assert reported.status == 200
    assert (success, failed, last) == (0, 1, reply.json)


async def test_repaired_file_is_loaded(routes: Path, upstream: Upstream) -> None:
    async with reloading(routes, upstream) as gateway:
        (routes / "first.yaml").write_text(BAD)
        await gateway.reload()
        (routes / "first.yaml").write_text(route(upstream, "second"))
        started = time.time()
        await gateway.reload()
        reported = await gateway.send(report("second"))
        metrics = [await gateway.counted(f"gateway_reload_{name}") for name in ("success", "time_seconds")]

    assert reported.status == 200
    assert metrics[0] == 1
    assert started - 1 < metrics[1] <= time.time()


async def test_a_folder_that_cannot_be_read_is_a_finding(routes: Path, upstream: Upstream) -> None:
    async with reloading(routes, upstream) as gateway:
        routes.rename(routes.with_name("elsewhere"))
        reply = await gateway.reload()
        reported = await gateway.send(report())

    assert (reply.status, reported.status) == (422, 200)
    assert "routes.d is not a folder" in reply.json["diagnostics"][0]["what"]


async def test_internal_error_during_a_reload_keeps_the_old_routes(routes: Path, upstream: Upstream) -> None:
    def breaks(folder: Path) -> Specs:
        raise ZeroDivisionError

    async with reloading(routes, upstream, again=breaks) as gateway:
        reply = await gateway.reload()
        reported = await gateway.send(report())

    assert (reply.status, reported.status) == (422, 200)
    assert "internal error" in reply.json["diagnostics"][0]["what"]


async def test_secret_file_is_read_again_on_reload(routes: Path, upstream: Upstream) -> None:
    secret = routes.with_name("secret")
    secret.write_text(SESSION)
    (routes / "first.yaml").write_text(route(upstream, secret=f'"${{file:{secret}}}"'))
    async with reloading(routes, upstream) as gateway:
        secret.write_text("f" * 32)
        await gateway.reload()
        replies = [await gateway.send(report(session=each)) for each in (SESSION, "f" * 32)]

    assert [reply.status for reply in replies] == [503, 200]


async def test_metric_series_of_a_removed_route_end(routes: Path, upstream: Upstream) -> None:
    async with reloading(routes, upstream) as gateway:
        await gateway.send(report())
        before = (await gateway.probe("/metrics")).text
        (routes / "first.yaml").write_text(route(upstream, "second"))
        await gateway.reload()
        await gateway.send(report("second"))
        after = (await gateway.probe("/metrics")).text

    assert before.count('route="first"') == after.count('route="second"') > 10
    assert 'route="first"' not in after


# What is seen of the files.


def writes_in_place(routes: Path, text: str) -> None:
    (routes / "first.yaml").write_text(text)


def renames_over(routes: Path, text: str) -> None:
    (routes / ".first.yaml.swp").write_text(text)
    (routes / ".first.yaml.swp").rename(routes / "first.yaml")


def adds_below(routes: Path, text: str) -> None:
    (routes / "below").mkdir()
    (routes / "below" / "second.yml").write_text(text)


def replaces_the_folder(routes: Path, text: str) -> None:
    shutil.rmtree(routes)
    routes.mkdir()
    (routes / "first.yaml").write_text(text)


@pytest.mark.parametrize("change", [writes_in_place, renames_over, adds_below, replaces_the_folder])
async def test_changed_files_are_detected(
    routes: Path, upstream: Upstream, change: Callable[[Path, str], None]
) -> None:
    async with reloading(routes, upstream, watch=True) as gateway:
        change(routes, route(upstream, "second"))
        await until(gateway, ok=True, generation=2, cause="files")
        reported = await gateway.send(report("second"))

    assert reported.status == 200


async def test_swapped_config_map_is_detected_and_read_once(tmp_path: Path, upstream: Upstream) -> None:
    routes = tmp_path / "mounted"

    def mount(version: str, text: str) -> None:
        """As Kubernetes does: files are links into `..data`, itself a link, which is moved over."""
        (routes / f"..{version}").mkdir(parents=True)
        (routes / f"..{version}" / "route.yaml").write_text(text)
        (routes / "..data_tmp").symlink_to(f"..{version}")
        (routes / "..data_tmp").rename(routes / "..data")

    mount("one", route(upstream))
    (routes / "route.yaml").symlink_to("..data/route.yaml")
    async with reloading(routes, upstream, watch=True) as gateway:
        mount("two", route(upstream, "second"))
        await until(gateway, ok=True, routes=1, generation=2)
        reported = await gateway.send(report("second"))

    assert reported.status == 200


async def test_changed_symlink_to_a_folder_is_detected(tmp_path: Path, upstream: Upstream) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "route.yaml").write_text(route(upstream, name))
    (tmp_path / "current").symlink_to("first")
    async with reloading(tmp_path / "current", upstream, watch=True) as gateway:
        (tmp_path / "new").symlink_to("second")
        (tmp_path / "new").rename(tmp_path / "current")
        await until(gateway, ok=True, generation=2)
        (tmp_path / "second" / "route.yaml").write_text(route(upstream, "third"))
        await until(gateway, ok=True, generation=3)
        reported = await gateway.send(report("third"))

    assert reported.status == 200


async def test_folder_that_reappears_is_loaded(routes: Path, upstream: Upstream) -> None:
    async with reloading(routes, upstream, watch=True) as gateway:
        routes.rename(routes.with_name("elsewhere"))
        await until(gateway, ok=False, routes=1)
        reported = await gateway.send(report())
        routes.with_name("elsewhere").rename(routes)
        await until(gateway, ok=True, generation=2)
        (routes / "second.yaml").write_text(route(upstream, "second"))
        await until(gateway, ok=True, routes=2)

    assert reported.status == 200


async def test_changed_secret_file_is_detected(routes: Path, upstream: Upstream) -> None:
    secret = routes.with_name("secret")
    secret.write_text(SESSION)
    (routes / "first.yaml").write_text(route(upstream, secret=f'"${{file:{secret}}}"'))
    async with reloading(routes, upstream, watch=True) as gateway:
        secret.write_text("f" * 32)
        await until(gateway, ok=True, generation=2)
        reported = await gateway.send(report(session="f" * 32))

    assert reported.status == 200


async def test_reload_waits_until_a_file_is_written(routes: Path, upstream: Upstream) -> None:
    text = route(upstream) + "---\n" + route(upstream, "second")
    async with reloading(routes, upstream, watch=True) as gateway:
        with (routes / "first.yaml").open("w") as file:
            for line in text.splitlines(keepends=True):
                file.write(line)
                file.flush()
                await asyncio.sleep(0.03)
        seen = await until(gateway, generation=2)

    assert (seen["ok"], seen["routes"]) == (True, 2)


async def test_unchanged_files_are_not_reloaded(routes: Path, upstream: Upstream) -> None:
    async with reloading(routes, upstream, watch=True) as gateway:
        (routes / "README").write_text("no spec")
        (routes / ".draft.yaml").write_text(BAD)
        await asyncio.sleep(1.5)
        seen = await state(gateway)

    assert (seen["cause"], seen["generation"]) == ("start", 1)


async def test_reload_on_request_without_watching(routes: Path, upstream: Upstream) -> None:
    async with reloading(routes, upstream) as gateway:
        (routes / "first.yaml").write_text(route(upstream, "second"))
        await asyncio.sleep(1.5)
        before = await state(gateway)
        reply = await gateway.reload()

    assert (before["generation"], reply.json["generation"]) == (1, 2)


# How it runs.


async def test_concurrent_reload_requests_share_one_load(routes: Path) -> None:
    go, loads, used = threading.Event(), [], []

    def slowly() -> Specs:
        loads.append(go.wait(SOON_S))
        return load(routes)

    def use(snapshot: Snapshot) -> None:
        used.append(snapshot)

    origin = Origin(folder=routes, load=slowly, first=load(routes))
    reloader = Reloader(origin, use, Telemetry())
    async with asyncio.timeout(SOON_S), asyncio.TaskGroup() as tasks:
        first = tasks.create_task(reloader.reload("signal"))
        await asyncio.sleep(0.05)
        others = [tasks.create_task(reloader.reload("request")) for _ in range(20)]
        await asyncio.sleep(0.05)
        go.set()

    assert first.result().generation == 2
    assert {other.result().generation for other in others} == {3}
    assert (len(loads), len(used)) == (2, 2)


async def test_reports_are_answered_while_a_load_runs(routes: Path, upstream: Upstream) -> None:
    go = threading.Event()

    def slowly(folder: Path) -> Specs:
        go.wait(SOON_S)
        return load(folder)

    async with reloading(routes, upstream, again=slowly) as gateway, asyncio.TaskGroup() as tasks:
        reloaded = tasks.create_task(gateway.reload())
        replies = [await gateway.send(report()) for _ in range(3)]
        was_running = not reloaded.done()
        go.set()

    assert [reply.status for reply in replies] == [200] * 3
    assert was_running
    assert reloaded.result().status == 200


async def test_sighup_reloads_and_logs_the_result(routes: Path, upstream: Upstream) -> None:
    options = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--no-watch")
    async with command("serve", "--routes", str(routes), *options) as gateway:
        address = (await gateway.event("listening"))["address"]
        (routes / "second.yaml").write_text(route(upstream, "second"))
        gateway.signal(signal.SIGHUP)
        good = await gateway.event("reloaded")
        (routes / "second.yaml").write_text(BAD)
        gateway.signal(signal.SIGHUP)
        bad = await gateway.event("reload_failed")
        reported = await exchange(address, report("second"))
        gateway.signal(signal.SIGTERM)
        code, _ = await gateway.end()

    assert good.items() >= {"cause": "signal", "generation": 2, "routes": 2, "errors": 0}.items()
    assert bad.items() >= {"level": "error", "generation": 2, "routes": 2}.items()
    assert str(routes / "second.yaml") in bad["problems"][0]
    assert (reported.status, code) == (200, 0)


# Who is not disturbed.


async def test_report_keeps_the_routes_it_started_with(routes: Path) -> None:
    answer = asyncio.Event()

    async def later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answer.wait()
        await says(0)(reader, writer)

    async with Upstream(later) as old, Upstream(says(0)) as new:
        (routes / "first.yaml").write_text(route(old))
        async with reloading(routes, old) as gateway, gateway.call() as caller:
            caller.send(report())
            while not old.received:
                await asyncio.sleep(0.01)
            (routes / "first.yaml").write_text(route(new))
            reloaded = await gateway.reload()
            answer.set()
            replies = [await caller.parsed()]
            caller.send(report())
            replies.append(await caller.parsed())

    assert reloaded.status == 200
    assert [reply.status for reply in replies] == [200, 200]
    assert (len(old.received), len(new.received)) == (1, 1)


async def test_slow_report_keeps_the_routes_it_started_with(routes: Path, upstream: Upstream) -> None:
    head, _, body = report().partition(b"\r\n\r\n")
    async with reloading(routes, upstream) as gateway, gateway.call() as caller:
        caller.send(head + b"\r\n\r\n" + body[:5])
        await asyncio.sleep(0.05)
        (routes / "first.yaml").write_text(route(upstream, "second"))
        await gateway.reload()
        caller.send(body[5:])
        reply = await caller.parsed()

    assert reply.status == 200


async def test_connections_on_both_sides_outlive_a_reload(routes: Path, upstream: Upstream) -> None:
    async with reloading(routes, upstream) as gateway, gateway.call() as caller:
        statuses = []
        for _ in range(3):
            caller.send(report())
            statuses.append((await caller.parsed()).status)
            await gateway.reload()

    assert statuses == [200] * 3
    assert upstream.connections == 1


async def test_upstream_session_survives_a_reload(routes: Path) -> None:
    vendor = LoggingIn()
    async with Upstream(vendor) as upstream:
        vendor.received = upstream.received
        account = "credential: {key: admin, secret: a password, recipe: zstack-session}"
        (routes / "first.yaml").write_text(route(upstream, to=f"provider: zstack, {account}"))
        async with reloading(routes, upstream) as gateway:
            statuses = []
            for _ in range(3):
                statuses.append((await gateway.send(report())).status)
                await gateway.reload()

    assert statuses == [200] * 3
    assert vendor.logins == 1


async def test_nonces_survive_a_reload(routes: Path, upstream: Upstream) -> None:
    (routes / "first.yaml").write_text(
        route(upstream).replace(f"secret: {SESSION}", "key: admin, secret: a password").replace("path: /first, ", "")
    )
    async with reloading(routes, upstream) as gateway:
        token = token_of(await gateway.send(login()))
        leave = raw_report(
            b"", session=f"OAuth {token}", method="DELETE", target=f"/zstack/v1/accounts/sessions/{token}"
        )
        statuses = []
        for raw in (
            raw_report(datum(), session=f"OAuth {token}"),
            leave,
            raw_report(datum(), session=f"OAuth {token}"),
        ):
            await gateway.reload()
            statuses.append((await gateway.send(raw)).status)

    assert statuses == [200, 200, 503]


async def test_target_pause_survives_a_reload(routes: Path) -> None:
    async with Upstream(answers(401)) as upstream:
        (routes / "first.yaml").write_text(route(upstream))
        async with reloading(routes, upstream) as gateway:
            for _ in range(3):
                await gateway.send(report())
                await gateway.reload()
            [target] = (await gateway.probe("/api/targets")).json["targets"]

    assert (target["breaker"], len(upstream.received)) == ("open", 1)


async def test_frequent_reloads_do_not_disturb_reports(routes: Path, upstream: Upstream) -> None:
    """Ten reloads a second, every fifth of a bad file, under eight callers; GATEWAY_SOAK_S makes it longer."""
    end = time.monotonic() + STORM_S

    async def keep_reporting(gateway: Running) -> list[int]:
        statuses = []
        async with gateway.call() as caller:
            while time.monotonic() < end:
                caller.send(report())
                statuses.append((await caller.parsed()).status)
        return statuses

    async def keep_reloading(gateway: Running) -> list[int]:
        statuses = []
        while time.monotonic() < end:
            again = time.monotonic() + 0.1
            bad = len(statuses) % 5 == 4
            (routes / "second.yaml").write_text(BAD if bad else route(upstream, f"second-{len(statuses)}"))
            statuses.append((await gateway.reload()).status)
            await asyncio.sleep(again - time.monotonic())
        return statuses

    async with reloading(routes, upstream, watch=True) as gateway, asyncio.TaskGroup() as tasks:
        callers = [tasks.create_task(keep_reporting(gateway)) for _ in range(8)]
        reloads = tasks.create_task(keep_reloading(gateway))
        await asyncio.wait([*callers, reloads])
        last = await gateway.probe("/api/routes")

    statuses = [status for caller in callers for status in caller.result()]
    assert len(statuses) > 8
    assert set(statuses) == {200}
    assert set(reloads.result()) == {200, 422}
    assert len(reloads.result()) >= 5
    assert len(last.json["routes"]) == 2
