"""gateway demo: the gateway and a stand-in vendor as two processes, and a request to try them with."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from gateway.commands.child import Child, read_entry
from gateway.commands.loading import load_or_fail
from gateway.commands.options import DEFAULT_ROUTES, Routes, UserError, fail
from gateway.commands.posting import curl, post
from gateway.commands.printing import heading, line, print_response
from gateway.core.cases.anew import Anew, make_anew
from gateway.core.cases.differences import differences
from gateway.core.cases.parts import Mismatch
from gateway.core.cases.run import case_request
from gateway.core.errors import GatewayError
from gateway.core.json import read_json
from gateway.core.model import Request
from gateway.core.outcome import Code
from gateway.core.recipe.model import Recipe, TimeSlot
from gateway.core.route import Route
from gateway.core.suggest import nearest
from gateway.delivery.courier import fresh
from gateway.specs.load import Trial

_ARRIVE_S = 5.0
_REFUSED_S = 0.5  # then nothing is expected any more
_SECRET = "GATEWAY_DEMO_SECRET"


def demo(
    route: Annotated[str | None, typer.Argument(metavar="ROUTE", help="The route; default: the plainest.")] = None,
    routes: Routes = DEFAULT_ROUTES,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, metavar="PORT", help="Where the gateway listens.")
    ] = 8080,
    once: Annotated[bool, typer.Option("--once", help="Post the request, show what happens, and end.")] = False,
) -> None:
    """Run the gateway with a stand-in vendor, and a request to try.

    Request and environment are those of the route's first case; its times are moved to now, and it is signed anew. It
    is printed as a curl line for another terminal, and each exchange as it happens. With --once, exits 0 when the data
    points arrived.

    \b
    Example:
      gateway demo acme-to-zeta --once
    """
    trial = _trial(routes, route)
    try:
        sample = case_request(trial.case, trial.route)
    except Mismatch as error:
        fail(str(error))
    try:
        code = asyncio.run(_until_told(_demo(trial, routes, port, sample, once), then=1 if once else 0))
    except UserError as error:
        taken = "address already in use" in str(error)
        fail(f"{error}; choose another with --port (make run PORT=…)" if taken else str(error))
    raise typer.Exit(code)


def _trial(routes: Path, wanted: str | None) -> Trial:
    specs = load_or_fail(routes, trials=True, strict_environment=False)
    if wanted is not None and wanted not in specs.routes:
        fail(f"no route is named {wanted!r}; {nearest(wanted, specs.routes)}")
    trials = [
        trial
        for trial in specs.trials
        if trial.owner in specs.routes and _is_shown(trial) and wanted in (None, trial.owner)
    ]
    if not trials:
        fail(f"{wanted or routes} has no case with a request to show")
    return min(trials, key=_demands)


def _is_shown(trial: Trial) -> bool:
    return trial.case.request is not None and not trial.route.is_relay


def _demands(trial: Trial) -> tuple[bool, bool]:
    """Tell what a request needs to be posted once more: the host that it matches, a signature for the moment."""
    source = trial.route.source
    return bool(source.match.tests), any(check.recipe.signature is not None for check in source.checks or ())


async def _until_told(main: Coroutine[Any, Any, int], *, then: int) -> int:
    """Run it to its end, or until SIGTERM or a closed terminal, and `then` is returned. Either way its children end
    first, as they do on Ctrl-C, which asyncio turns into a cancellation by itself."""
    task = asyncio.current_task()
    assert task is not None
    told = False

    def end() -> None:
        nonlocal told
        told = True
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, end)
    try:
        return await main
    except asyncio.CancelledError:
        if told:
            return then
        raise


async def _demo(trial: Trial, routes: Path, port: int, sample: Request, once: bool) -> int:
    route, environ = trial.route, _environ(trial)
    with TemporaryDirectory(prefix="gateway-demo-") as data:
        async with (
            Child("stand-in", _sink_arguments(route, routes), environ) as sink,
            Child("gateway", _serve_arguments(route, routes, port, sink.address, data), environ) as gateway,
        ):
            anew = _anew(trial, sample, gateway.address)
            line(f"{route.name}: {route.source.provider.title} in, {route.target.provider.title} out", "bold")
            line(f"The gateway listens on http://{gateway.address}, a stand-in vendor on http://{sink.address}.")
            return await (_once(trial, anew.request, gateway, sink) if once else _show_all(anew, gateway, sink))


def _anew(trial: Trial, sample: Request, address: str) -> Anew:
    try:
        return make_anew(sample, trial.route, then_ns=trial.case.now_ns, fresh=fresh(), address=address)
    except GatewayError as error:
        fail(error.outcome.message)


async def _once(trial: Trial, request: Request, gateway: Child, sink: Child) -> int:
    heading("request")
    line(curl(request, gateway.address))
    response = await post(request, gateway.address, timeout_s=trial.route.target.timeout_s + 1)
    heading("reply")
    print_response(response)
    heading("the stand-in received")
    expected = [_timeless(point) for point in trial.case.points or [{}]]
    refused = response.status >= 300
    received = await _received(sink.data(), len(expected), within_s=_REFUSED_S if refused else _ARRIVE_S)
    for text in received:
        line(text)
    if len(received) < len(expected):
        line(f"{len(received)} of {len(expected)} data points", "red")
        return 1
    wrong = list(differences(expected, [read_json(text) for text in received], "points"))
    for difference in wrong:
        line(difference, "red")
    return 1 if wrong or refused else 0


async def _received(data: AsyncIterator[str], number: int, *, within_s: float) -> list[str]:
    """Return so many data points, or those that arrived in time."""
    received: list[str] = []
    try:
        async with asyncio.timeout(within_s):
            while len(received) < number:
                received.append(await anext(data))
    except (TimeoutError, StopAsyncIteration):
        pass
    return received


def _timeless(point: dict[str, Any]) -> dict[str, Any]:
    """Leave the time out: the case has a clock of its own, and the target perhaps no place for a time."""
    return {name: value for name, value in point.items() if name != "time_ns"}


async def _show_all(anew: Anew, gateway: Child, sink: Child) -> int:
    """Print what happens, until one of the two ends. Raises UserError then: nobody asked it to."""
    line(f"In another terminal{_in_time(anew.recipe)}:\n")
    line(curl(anew.request, gateway.address), "bold")
    line("\nCtrl-C ends both.")
    sys.stdout.flush()
    async with asyncio.TaskGroup() as tasks:
        logs = {
            tasks.create_task(_show(gateway.name, _exchanges(gateway))): gateway,
            tasks.create_task(_show(sink.name, _exchanges(sink, failed=True))): sink,
        }
        others = [tasks.create_task(_show(child.name, child.data())) for child in (gateway, sink)]
        ended, _ = await asyncio.wait(logs, return_when=asyncio.FIRST_COMPLETED)
        for task in (*logs, *others):
            task.cancel()
    fail(f"the {logs[ended.pop()].name} has ended")


def _in_time(recipe: Recipe | None) -> str:
    """Say how long a signature holds, and whether it is taken more than once."""
    if recipe is None:
        return ""
    windows = [slot.window_s for slot in recipe.slots.values() if isinstance(slot, TimeSlot)]
    words = [f" within {window_s:g} s" for window_s in windows] + [" once" for _ in recipe.replay[:1]]
    return ",".join(words)


async def _show(name: str, texts: AsyncIterator[str]) -> None:
    async for text in texts:
        line(f"{name:8}  {text}")
        sys.stdout.flush()


async def _exchanges(child: Child, *, failed: bool = False) -> AsyncIterator[str]:
    """Yield a line for each report that a child logs, or for each that failed, and all else that it says."""
    async for text in child.log():
        entry = read_entry(text)
        if entry.get("event") != "report":
            yield text
        elif not failed or entry.get("code") != Code.OK:
            words = [entry.get(name) for name in ("code", "reason", "message")]
            yield " ".join(str(word) for word in words if word) + f"  {entry.get('ms')} ms"


def _environ(trial: Trial) -> dict[str, str]:
    credential = trial.route.target.credential
    secret = {_SECRET: credential.secret.reveal()} if credential else {}
    without_option = ("GATEWAY_TLS_", "GATEWAY_ADMIN_TOKEN")  # to say that there is none
    plain = {name: value for name, value in os.environ.items() if not name.startswith(without_option)}
    return {**plain, **trial.environ, **secret, "PYTHONUNBUFFERED": "1"}


def _sink_arguments(route: Route, routes: Path) -> list[str]:
    target = route.target
    arguments = ["sink", target.provider.name, "--listen", "127.0.0.1:0", "--routes", str(routes)]
    arguments += ["--rules-of", route.name]
    if target.credential is not None:
        arguments += ["--secret", f"env:{_SECRET}"]
        arguments += ["--key", target.credential.key] if target.credential.key else []
    return arguments


def _serve_arguments(route: Route, routes: Path, port: int, sink: str, data: str) -> list[str]:
    """Every option is stated that the environment could change. A queue lasts as long as the demonstration."""
    return [
        *("serve", "--routes", str(routes), "--only", route.name),
        *("--target", f"{route.name}=http://{sink}{route.target.base_path}", "--data", data),
        *("--listen", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0", "--watch"),
        *("--log-level", "info", "--log-format", "json", "--grace-s", "2", "--drain-delay-s", "0"),
    ]
