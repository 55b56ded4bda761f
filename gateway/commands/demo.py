"""gateway demo: the gateway and a stand-in vendor as two processes, and a request to try them with."""

import asyncio
import os
import shlex
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.commands.loading import load_or_fail
from gateway.commands.options import DEFAULT_ROUTES, Routes, fail
from gateway.commands.printing import heading, line, print_response
from gateway.core.case import case_request
from gateway.core.case_parts import Mismatch
from gateway.core.differences import differences
from gateway.core.errors import GatewayError
from gateway.core.json import read_json
from gateway.core.model import Request
from gateway.core.route import Route
from gateway.core.suggest import nearest
from gateway.delivery.client import Client, Timeouts
from gateway.specs.load import Trial

_START_S = 20
_ARRIVE_S = 5
_SECRET = "GATEWAY_DEMO_SECRET"


def demo(
    route: Annotated[str | None, typer.Argument(metavar="[ROUTE]", help="The route; default: the first.")] = None,
    routes: Routes = DEFAULT_ROUTES,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Where the gateway listens.")] = 8080,
    once: Annotated[bool, typer.Option("--once", help="Post the request, show what happens, and end.")] = False,
) -> None:
    """Run the gateway with a stand-in for the target's vendor, and print a request to post from another terminal.

    Request and environment are those of the route's first case. With --once, exits 0 when the data points arrived.

    Example: gateway demo zstack-to-tencent --once
    """
    trial = _trial(routes, route)
    try:
        request = case_request(replace(trial.case, now_ns=time.time_ns()), trial.route)
    except Mismatch as error:
        fail(str(error))
    raise typer.Exit(asyncio.run(_demo(trial, routes, port, request, once)))


def _trial(routes: Path, wanted: str | None) -> Trial:
    specs = load_or_fail(routes, trials=True, strict_environment=False)
    if wanted is not None and wanted not in specs.routes:
        fail(f"no route is named {wanted!r}; {nearest(wanted, specs.routes)}")
    for trial in specs.trials:
        if trial.owner in specs.routes and trial.case.request is not None and wanted in (None, trial.owner):
            return trial
    fail(f"{wanted or routes} has no case with a request to show")


async def _demo(trial: Trial, routes: Path, port: int, request: Request, once: bool) -> int:
    route = trial.route
    async with AsyncExitStack() as stack:
        sink = await stack.enter_async_context(_Process("stand-in", _sink_arguments(route, routes), _environ(trial)))
        address = await sink.address()
        gateway = await stack.enter_async_context(
            _Process("gateway", _serve_arguments(route, routes, port, address), _environ(trial))
        )
        request = _to(request, await gateway.address())
        line(f"{route.name}: {route.source.provider.title} in, {route.target.provider.title} out", "bold")
        line(f"The gateway listens on http://{await gateway.address()}, a stand-in vendor on http://{address}.")
        if once:
            return await _once(trial, request, sink)
        line("In another terminal:\n")
        line(_curl(request), "bold")
        line("\nCtrl-C ends both.")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_show(gateway))
            tasks.create_task(_show(sink))
        return 0


async def _once(trial: Trial, request: Request, sink: "_Process") -> int:
    heading("request")
    line(_curl(request))
    client = Client()
    try:
        response = await client.send(request, timeouts=Timeouts(total_s=trial.route.target.timeout_s + 1))
    except GatewayError as error:
        fail(error.outcome.message)
    finally:
        await client.close()
    heading("reply")
    print_response(response)
    heading("the stand-in received")
    expected = trial.case.points or [{}]
    try:
        async with asyncio.timeout(_ARRIVE_S):
            received = [await anext(sink.lines) for _ in expected]
    except TimeoutError:
        line("nothing", "red")
        return 1
    for text in received:
        line(text)
    wrong = list(differences(expected, [read_json(text) for text in received], "points"))
    for difference in wrong:
        line(difference, "red")
    return 1 if wrong or response.status >= 300 else 0


async def _show(process: "_Process") -> None:
    """Print what happens in a process until it ends."""
    async for text in process.lines:
        line(f"{process.name:8}  {text}")
    fail(f"the {process.name} has ended")


@dataclass(slots=True, init=False)
class _Process:
    """A command of ours in a process of its own. `lines` are what it prints: data points, or its log."""

    name: str
    lines: AsyncIterator[str]
    _arguments: list[str]
    _environ: Mapping[str, str]
    _process: asyncio.subprocess.Process
    _address: str

    def __init__(self, name: str, arguments: list[str], environ: Mapping[str, str]) -> None:
        self.name = name
        self._arguments = arguments
        self._environ = environ
        self._address = ""

    async def __aenter__(self) -> "_Process":
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "gateway", *self._arguments),
            env=self._environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        prints_data = self._arguments[0] == "sink"
        self.lines = self._data() if prints_data else self._log()
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._process.returncode is None:
            self._process.terminate()
        await self._process.wait()

    async def address(self) -> str:
        """Return where it listens, once it does. Raises UserError with its last words when it ends instead."""
        if self._address:
            return self._address
        last = ""
        async with asyncio.timeout(_START_S):
            async for text in _texts(self._process.stderr):
                entry = _entry(text)
                if entry.get("event") == "listening":
                    self._address = str(entry["address"])
                    return self._address
                last = text
        fail(last.removeprefix("gateway: ") or f"the {self.name} did not start")

    async def _data(self) -> AsyncIterator[str]:
        async for text in _texts(self._process.stdout):
            yield text

    async def _log(self) -> AsyncIterator[str]:
        async for text in _texts(self._process.stderr):
            entry = _entry(text)
            if entry.get("event") == "report":
                words = [entry.get(name) for name in ("code", "reason", "message")]
                yield " ".join(str(word) for word in words if word) + f"  {entry.get('ms')} ms"
            else:
                yield text


async def _texts(stream: asyncio.StreamReader | None) -> AsyncIterator[str]:
    if stream is not None:
        async for raw in stream:
            yield raw.decode("utf-8", "replace").rstrip("\n")


def _entry(text: str) -> dict[str, Any]:
    try:
        entry = read_json(text)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _environ(trial: Trial) -> dict[str, str]:
    credential = trial.route.target.credential
    secret = {_SECRET: credential.secret.reveal()} if credential else {}
    return {**os.environ, **trial.environ, **secret, "PYTHONUNBUFFERED": "1"}


def _sink_arguments(route: Route, routes: Path) -> list[str]:
    target = route.target
    arguments = ["sink", target.provider.name, "--listen", "127.0.0.1:0", "--routes", str(routes)]
    if target.credential is not None:
        arguments += ["--secret", f"env:{_SECRET}"]
        arguments += ["--key", target.credential.key] if target.credential.key else []
    return arguments


def _serve_arguments(route: Route, routes: Path, port: int, sink: str) -> list[str]:
    arguments = ["serve", "--routes", str(routes), "--only", route.name, "--log-format", "json"]
    arguments += ["--target", f"{route.name}=http://{sink}{route.target.base_path}"]
    return [*arguments, "--listen", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0"]


def _to(request: Request, address: str) -> Request:
    others = tuple(header for header in request.headers if header[0].lower() not in ("host", "content-length"))
    return replace(request, headers=(("Host", address), *others))


def _curl(request: Request) -> str:
    """Return the request as a curl command; curl makes Host and Content-Length itself."""
    parts = ["curl", "-X", request.method]
    for name, value in request.headers:
        if name.lower() != "host":
            parts += ["-H", f"{name}: {value}"]
    if request.body:
        parts += ["--data-binary", request.body.decode("utf-8", "surrogateescape")]
    return shlex.join([*parts, request.url])
