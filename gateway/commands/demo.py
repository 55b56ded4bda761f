"""gateway demo: the gateway and a stand-in vendor in one process, and a request to try them with."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from gateway.app import Gateway, Settings, run
from gateway.commands.arguments.loading import load_or_fail
from gateway.commands.arguments.options import DEFAULT_ROUTES, Routes, fail, system_text
from gateway.commands.arguments.targets import retarget
from gateway.commands.output.printing import heading, json_line, line, print_response
from gateway.commands.roles.posting import curl, post
from gateway.commands.roles.vendor import play_vendor, vendor_route
from gateway.core.http.request import Request
from gateway.core.outcome.errors import GatewayError
from gateway.core.outcome.outcome import Code
from gateway.core.pipeline import receive_report
from gateway.core.recipe.model import Recipe, TimeSlot
from gateway.core.recipe.verify import NoReplayCheck
from gateway.core.text import did_you_mean
from gateway.core.vendor.route import Route
from gateway.core.vendor.routing import make_snapshot
from gateway.delivery.transport import fresh
from gateway.logs import forwarding
from gateway.proof.cases.differences import differences
from gateway.proof.cases.parts import Mismatch
from gateway.proof.cases.resign import RefreshedSample, refresh_sample
from gateway.proof.cases.run import case_request
from gateway.reload import Origin
from gateway.specs.load import Specs, Trial, load

STAND_IN = "stand-in"
ARRIVE_S = 5.0
REJECTED_S = 0.5  # how long to wait for data points of a report that was rejected
GRACE_S = 2.0


def demo(
    route: Annotated[str | None, typer.Argument(metavar="ROUTE", help="The route; default: the plainest.")] = None,
    routes: Routes = DEFAULT_ROUTES,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, metavar="PORT", help="Where the gateway listens.")
    ] = 8080,
    once: Annotated[bool, typer.Option("--once", help="Post the request, show what happens, and end.")] = False,
) -> None:
    """Run the gateway with a stand-in vendor, and a request to try.

    Request and environment are those of the route's first case. Its times are moved to now, and it is signed again. It
    is printed as a curl line for another terminal, and each exchange as it happens. With --once, exits 0 when the data
    points arrived. Mirrors are left out.

    \b
    Example:
      gateway demo acme-to-zeta --once
    """
    trial = _trial(routes, route)
    try:
        sample = case_request(trial.case, trial.route)
    except Mismatch as error:
        fail(str(error))
    raise typer.Exit(run(_until_signal(_demo(trial, routes, port, sample, once), code=1 if once else 0)))


def _trial(routes: Path, wanted: str | None) -> Trial:
    specs = load_or_fail(routes, trials=True, strict_environment=False)
    if wanted is not None and wanted not in specs.routes:
        fail(f"no route is named {wanted!r}; {did_you_mean(wanted, specs.routes)}")
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
    """Tell what a request needs to be posted again: the host that it matches, a signature for the moment."""
    source = trial.route.source
    return bool(source.match.tests), any(check.recipe.signature is not None for check in source.checks or ())


async def _until_signal(main: Coroutine[Any, Any, int], *, code: int) -> int:
    """Run it to its end; on SIGTERM or SIGHUP, cancel it and return `code`."""
    task = asyncio.current_task()
    assert task is not None
    signalled = False

    def end() -> None:
        nonlocal signalled
        signalled = True
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, end)
    try:
        return await main
    except asyncio.CancelledError:
        if signalled:
            return code
        raise


async def _demo(trial: Trial, routes: Path, port: int, sample: Request, once: bool) -> int:
    output = _Output()
    route = trial.route
    with forwarding(output.log), TemporaryDirectory(prefix="gateway-demo-") as data:
        async with (
            _running(_stand_in(route, output)) as stand_in,
            _running(_gateway(trial, routes, port, stand_in.address, Path(data)), port) as gateway,
        ):
            again = _again(trial, sample, gateway.address)
            line(f"{route.name}: {route.source.provider.title} in, {route.target.provider.title} out", "bold")
            line(f"The gateway listens on http://{gateway.address}, a stand-in vendor on http://{stand_in.address}.")
            if once:
                return await _once(trial, sample, again.request, gateway.address, output)
            return await _show_all(again, gateway.address, output)


class _Output:
    """Prints data points and log lines of a demonstration, each with its origin."""

    def __init__(self) -> None:
        self.points: asyncio.Queue[Any] = asyncio.Queue()
        self.lines: asyncio.Queue[str] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def take(self, values: Sequence[Any]) -> None:
        for value in values:
            self.points.put_nowait(value)
            self._put(STAND_IN, json_line(value))

    def log(self, event: Mapping[str, Any]) -> None:
        """Take a log event, from any thread. Of the stand-in's reports, only those that failed are shown."""
        if event.get("event") != "report":
            self._put(
                "gateway", " ".join([str(event["event"]), *(f"{k}={v}" for k, v in event.items() if k != "event")])
            )
        elif event.get("route") != STAND_IN or event.get("code") != Code.OK:
            words = [event.get(name) for name in ("code", "reason", "message")]
            name = STAND_IN if event.get("route") == STAND_IN else "gateway"
            self._put(name, " ".join(str(word) for word in words if word) + f"  {event.get('ms')} ms")

    def _put(self, name: str, text: str) -> None:
        self._loop.call_soon_threadsafe(self.lines.put_nowait, f"{name:8}  {text}")


@asynccontextmanager
async def _running(gateway: Gateway, port: int = 0) -> AsyncIterator[Gateway]:
    """Run a gateway inside the context. Raises UserError if its port is taken."""
    try:
        await gateway.start()
    except OSError as error:
        fail(f"cannot listen on 127.0.0.1:{port}: {system_text(error)}; choose another with --port (make run PORT=…)")
    try:
        yield gateway
    finally:
        await gateway.stop()


def _stand_in(route: Route, output: _Output) -> Gateway:
    """Return a gateway that plays the target's vendor, and holds data points to the rules that the route sends by."""
    credential = route.target.credential
    # Without its recipe: where the target logs in, that is the recipe of the session.
    unbound = None if credential is None else replace(credential, recipe=None)
    played = vendor_route(route.target.provider, unbound, {})
    played = replace(played, name=STAND_IN, source=replace(played.source, rules=route.target.rules))
    return play_vendor(played, Settings(listen="127.0.0.1:0", admin=None, grace_s=GRACE_S), output.take)


def _gateway(trial: Trial, routes: Path, port: int, stand_in: str, data: Path) -> Gateway:
    """Return a gateway that serves the route towards the stand-in, and reloads it when its file changes."""
    environ = {**os.environ, **trial.environ}
    target = f"{trial.owner}=http://{stand_in}{trial.route.target.base_path}"

    def load_again() -> Specs:
        specs = load(routes, environ, only=[trial.owner], strict_environment=False)
        if trial.owner in specs.routes:
            specs.routes = retarget(specs.routes, [target])
            specs.routes = {name: replace(route, mirrors=()) for name, route in specs.routes.items()}
        return specs

    specs = load_again()
    settings = Settings(listen=f"127.0.0.1:{port}", admin=None, grace_s=GRACE_S, data=data)
    origin = Origin(folder=routes, load=load_again, first=specs)
    return Gateway(make_snapshot(list(specs.routes.values())), settings, origin=origin)


def _again(trial: Trial, sample: Request, address: str) -> RefreshedSample:
    try:
        return refresh_sample(sample, trial.route, then_ns=trial.case.now_ns, fresh=fresh(), address=address)
    except GatewayError as error:
        fail(error.outcome.message)


async def _once(trial: Trial, sample: Request, request: Request, address: str, output: _Output) -> int:
    heading("request")
    line(curl(request, address))
    response = await post(request, address, timeout_s=trial.route.target.timeout_s + 1)
    heading("reply")
    print_response(response)
    heading("the stand-in received")
    expected = _expected(trial, sample)
    rejected = response.status >= 300
    received = await _received(output.points, len(expected), within_s=REJECTED_S if rejected else ARRIVE_S)
    for point in received:
        line(json_line(point))
    if len(received) < len(expected):
        line(f"{len(received)} of {len(expected)} data points", "red")
        return 1
    wrong = list(differences(expected, received, "points"))
    for difference in wrong:
        line(difference, "red")
    return 1 if wrong or rejected else 0


def _expected(trial: Trial, sample: Request) -> list[dict[str, Any]]:
    """Return what the case says of the data points, else an empty map for each that the report has.

    Times are left out: the case has its own clock, and the target may have no field for a time.
    """
    if trial.case.points is not None:
        return [{name: value for name, value in point.items() if name != "time_ns"} for point in trial.case.points]
    match = make_snapshot([trial.route]).match(sample)
    try:
        items = (
            receive_report(match, match.read(sample), now_ns=trial.case.now_ns, replays=NoReplayCheck()).items
            if match
            else ()
        )
    except GatewayError:
        return []
    return [{} for _ in items]


async def _received(points: asyncio.Queue[Any], number: int, *, within_s: float) -> list[Any]:
    """Return so many data points, or those that arrived in time."""
    received: list[Any] = []
    try:
        async with asyncio.timeout(within_s):
            while len(received) < number:
                received.append(await points.get())
    except TimeoutError:
        pass
    return received


async def _show_all(again: RefreshedSample, address: str, output: _Output) -> int:
    """Print what happens until the process is interrupted."""
    line(f"In another terminal{_in_time(again.recipe)}:\n")
    line(curl(again.request, address), "bold")
    line("\nCtrl-C ends both.")
    while True:
        sys.stdout.flush()
        line(await output.lines.get())


def _in_time(recipe: Recipe | None) -> str:
    """Say how long a signature holds, and whether it is taken more than once."""
    if recipe is None:
        return ""
    windows = [slot.window_s for slot in recipe.slots.values() if isinstance(slot, TimeSlot)]
    words = [f" within {window_s:g} s" for window_s in windows] + [" once" for _ in recipe.replay[:1]]
    return ",".join(words)
