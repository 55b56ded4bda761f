"""gateway demo: the gateway and a stand-in vendor in one process, and a request to try them with."""

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from gateway.app import Gateway, Settings
from gateway.commands.arguments.loading import load_or_fail, named, retarget
from gateway.commands.arguments.options import DEFAULT_ROUTES, Routes, option
from gateway.commands.output.errors import fail, system_text
from gateway.commands.output.printing import heading, json_line, line, print_response, response_json
from gateway.commands.roles.vendor import Vendor, vendor_route
from gateway.core.context import RequestContext
from gateway.core.http.request import Request, Response
from gateway.core.outcome.errors import GatewayError
from gateway.core.outcome.outcome import Code
from gateway.core.pipeline import receive_report
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.verify import NoReplayCheck
from gateway.core.vendor.routing import make_snapshot
from gateway.delivery.transport import fresh
from gateway.logs import forwarding
from gateway.process import run
from gateway.proof.cases.parts import Mismatch, differences
from gateway.proof.cases.resign import RefreshedSample, refresh_sample
from gateway.proof.cases.run import case_request
from gateway.reload import Origin
from gateway.specs.load import Specs, Trial, load

STAND_IN = "stand-in"
ARRIVE_S = 5.0
REJECTED_S = 0.5  # how long to wait for data points of a report that was rejected
GRACE_S = 2.0


def demo(
    route: Annotated[
        str | None, typer.Argument(metavar="ROUTE", help="The route; default: the one that is simplest to call.")
    ] = None,
    routes: Routes = DEFAULT_ROUTES,
    port: Annotated[int, option("PORT", "Where the gateway listens.", min=0, max=65535)] = 8080,
    once: Annotated[bool, typer.Option("--once", help="Post the request, show what happens, and exit.")] = False,
) -> None:
    """Run the gateway with a stand-in vendor, and a request to try.

    The request and the environment are those of the route's first case. The times of the request are moved to now, and
    it is signed again. It is printed as a curl line for another terminal. Each exchange is printed as it happens. With
    --once, exits 0 when the data points arrived. Mirrors are left out.

    \b
    Example:
      gateway demo acme-to-zeta --once
    """
    trial = trial_of(routes, route)
    raise typer.Exit(run(_run(trial, routes, port, once)))


def trial_of(routes: Path, wanted: str | None) -> Trial:
    """Return the case to show: one of the wanted route, else the one that is simplest to call."""
    specs = load_or_fail(routes, trials=True, strict_environment=False)
    if wanted is not None and named("route", wanted, specs.routes).is_relay:
        fail(f"{wanted} is a relay; only routes with data points have a demonstration")
    names = [name for name, route in specs.routes.items() if not route.is_relay and wanted in (None, name)]
    trials = [trial for trial in specs.trials if trial.owner in names and trial.case.request is not None]
    if not trials:
        fail(f"{wanted or routes} has no case with a request to show")

    def demands(trial: Trial) -> tuple[bool, bool]:
        """Whether the host is checked, and whether the signature expires."""
        source = trial.route.source
        return bool(source.match.tests), any(each.recipe.signature is not None for each in source.verifiers or ())

    return min(trials, key=demands)


async def _run(trial: Trial, routes: Path, port: int, once: bool) -> int:
    async with running(trial, routes, port) as demo:
        if once:
            return await _once(trial, demo)
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, demo.lines.put_nowait, "")
        line(f"In another terminal{_validity(demo.sample.recipe)}:\n")
        line(curl(demo.sample.request, demo.address), "bold")
        line("\nCtrl-C ends both.")
        sys.stdout.flush()
        while text := await demo.lines.get():
            line(text)
            sys.stdout.flush()
        return 0


@dataclass(slots=True)
class Demo:
    """A gateway at `address` with its stand-in vendor, and the case's `sample`, valid now.

    `points` are those that the stand-in received; `lines` has them and the log, an empty line ends them.
    """

    address: str
    sample: RefreshedSample
    points: "asyncio.Queue[Any]"
    lines: "asyncio.Queue[str]"


@asynccontextmanager
async def running(trial: Trial, routes: Path, port: int) -> AsyncIterator[Demo]:
    """Run the gateway and the stand-in inside the context. Raises UserError if the port is taken."""
    points: asyncio.Queue[Any] = asyncio.Queue()
    lines: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def put(name: str, text: str) -> None:
        loop.call_soon_threadsafe(lines.put_nowait, f"{name:8}  {text}")

    def take(values: Sequence[Any]) -> None:
        for value in values:
            points.put_nowait(value)
            put(STAND_IN, json_line(value))

    def log(event: Mapping[str, Any]) -> None:
        """Take a log event, from any thread. Of the stand-in's reports, only those that failed are shown."""
        of_stand_in = event.get("route") == STAND_IN
        if event.get("event") != "report":
            fields = [f"{name}={value}" for name, value in event.items() if name != "event"]
            put("gateway", " ".join([str(event["event"]), *fields]))
        elif not of_stand_in or event.get("code") != Code.OK:
            words = [str(event[name]) for name in ("code", "reason", "message") if event.get(name)]
            put(STAND_IN if of_stand_in else "gateway", f"{' '.join(words)}  {event.get('ms')} ms")

    route, credential = trial.route, trial.route.target.credential
    # Without `recipe`: for a target that logs in, it names the recipe of the session.
    played = vendor_route(route.target.provider, credential and replace(credential, recipe=None), {})
    played = replace(played, name=STAND_IN, source=replace(played.source, rules=route.target.rules))
    with forwarding(log), TemporaryDirectory(prefix="gateway-demo-") as data:
        settings = Settings(listen="127.0.0.1:0", admin=None, grace_s=GRACE_S, data=Path(data))
        vendor = Gateway(make_snapshot([played]), replace(settings, data=None), delivery=Vendor(take))
        async with _started(vendor):
            gateway = _gateway(trial, routes, replace(settings, listen=f"127.0.0.1:{port}"), vendor.address)
            async with _started(gateway, port):
                line(f"{route.name}: {route.source.provider.title} in, {route.target.provider.title} out", "bold")
                line(f"The gateway listens on http://{gateway.address}, a stand-in vendor on http://{vendor.address}.")
                yield Demo(gateway.address, _sample(trial, gateway.address), points, lines)


@asynccontextmanager
async def _started(gateway: Gateway, port: int = 0) -> AsyncIterator[None]:
    try:
        await gateway.start()
    except OSError as error:
        fail(f"cannot listen on 127.0.0.1:{port}: {system_text(error)}; choose another with --port (make run PORT=…)")
    try:
        yield
    finally:
        await gateway.stop()


def _gateway(trial: Trial, routes: Path, settings: Settings, stand_in: str) -> Gateway:
    """Return a gateway that sends the route's calls to the stand-in, and reloads the route when its file changes."""
    environ = {**os.environ, **trial.environ}
    target = f"{trial.owner}=http://{stand_in}{trial.route.target.url.prefix}"

    def load_again() -> Specs:
        specs = load(routes, environ, only=[trial.owner], strict_environment=False)
        if trial.owner in specs.routes:
            specs.routes = retarget(specs.routes, [target])
            specs.routes = {name: replace(route, mirrors=()) for name, route in specs.routes.items()}
        return specs

    specs = load_again()
    return Gateway(specs.snapshot, settings, origin=Origin(folder=routes, load=load_again, first=specs))


def _sample(trial: Trial, address: str) -> RefreshedSample:
    try:
        request = case_request(trial.case, trial.route)
        return refresh_sample(request, trial.route, then_ns=trial.case.now_ns, context=fresh(), address=address)
    except (Mismatch, GatewayError) as error:
        fail(error.outcome.message if isinstance(error, GatewayError) else str(error))


async def _once(trial: Trial, demo: Demo) -> int:
    heading("request")
    line(curl(demo.sample.request, demo.address))
    response = await asyncio.to_thread(post, demo.sample.request, demo.address, trial.route.target.timeout_s + 1)
    heading("reply")
    print_response(response_json(response))
    heading("the stand-in received")
    expected, rejected = _expected(trial), response.status >= 300
    received: list[Any] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(REJECTED_S if rejected else ARRIVE_S):
            while len(received) < len(expected):
                received.append(await demo.points.get())
    for point in received:
        line(json_line(point))
    if len(received) < len(expected):
        line(f"{len(received)} of {len(expected)} data points", "red")
        return 1
    wrong = list(differences(expected, received, "points"))
    for difference in wrong:
        line(difference, "red")
    return 1 if wrong or rejected else 0


def _expected(trial: Trial) -> list[dict[str, Any]]:
    """Return the data points of the case, else an empty map for each that the report has.

    Times are left out: the case has another clock, and the target may have no field for a time.
    """
    if trial.case.points is not None:
        return [{name: value for name, value in point.items() if name != "time_ns"} for point in trial.case.points]
    request = case_request(trial.case, trial.route)
    match = make_snapshot([trial.route]).match(request)
    try:
        context = RequestContext(trial.case.now_ns, NoReplayCheck())
        return [{} for _ in receive_report(match, match.read(request), context).items] if match else []
    except GatewayError:
        return []


def _validity(recipe: Recipe | None) -> str:
    """Describe for how long a signature is valid, and whether it is accepted more than once."""
    if recipe is None:
        return ""
    window = f" within {recipe.time.window_s:g} s" if recipe.time else ""
    return ",".join(filter(None, [window, " once" if recipe.replay else ""]))


def curl(request: Request, address: str) -> str:
    """Return the request as a curl command; curl adds Host and Content-Length."""
    parts = ["curl", "-X", request.method]
    for name, value in request.headers:
        if (name.lower(), value) != ("host", address) and name.lower() != "content-length":
            parts += ["-H", f"{name}: {value}"]
    if request.body:
        parts += ["--data-binary", request.body.decode("utf-8", "surrogateescape")]
    return shlex.join([*parts, f"http://{address}{request.target}"])


def post(request: Request, address: str, timeout_s: float) -> Response:
    """Send the request to an address, which may differ from its Host."""
    with closing(HTTPConnection(address, timeout=timeout_s)) as connection:
        connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
        for name, value in request.headers:
            if name.lower() != "content-length":
                connection.putheader(name, value.encode("utf-8", "surrogateescape"))
        connection.putheader("Content-Length", str(len(request.body)))
        connection.endheaders(request.body)
        answer = connection.getresponse()
        return Response(answer.status, tuple(answer.getheaders()), answer.read())
