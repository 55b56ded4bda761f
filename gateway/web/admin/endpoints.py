"""The admin API's table of paths: each line is a path, its method, its handler, and what it gives."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.core.outcome.outcome import Outcome
from gateway.core.sending.breaker import State
from gateway.core.vendor.route import Route
from gateway.core.vendor.routing import Snapshot
from gateway.telemetry import RouteCounts, Telemetry
from gateway.web.admin.answers import Call, Mirror, Refused, ReloadState, Routes, RouteState, Targets, TargetState
from gateway.web.admin.openapi import Answer, Asked, Endpoint
from gateway.web.admin.queue import QueueCalls, queue_endpoints


class Gate(Protocol):
    """What is told of one target; see `TargetState` for the words."""

    @property
    def target(self) -> str: ...
    @property
    def key(self) -> str | None: ...
    @property
    def breaker(self) -> State: ...
    @property
    def opens_in_s(self) -> float: ...
    @property
    def cause(self) -> str: ...
    @property
    def under_way(self) -> int: ...
    @property
    def attempts(self) -> int: ...
    @property
    def error(self) -> Outcome | None: ...
    @property
    def next_attempt_in_s(self) -> float | None: ...


class Gates(Protocol):
    def states(self) -> Iterable[Gate]: ...


class Reloads(Protocol):
    @property
    def last(self) -> ReloadState: ...
    async def on_request(self) -> ReloadState: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What the handlers ask of the running gateway. Without `reloads`, the routes stay those of the start."""

    snapshot: Callable[[], Snapshot]
    telemetry: Telemetry
    refused: Callable[[], Sequence[Mapping[str, Any]]]
    gates: Gates
    queue: QueueCalls = field(default_factory=QueueCalls)
    reloads: Reloads | None = None

    async def routes(self, asked: Asked) -> Answer:
        counts = self.telemetry.counts()
        return Answer(Routes([_state(route, counts.get(route.name)) for route in self.snapshot().routes]))

    async def targets(self, asked: Asked) -> Answer:
        return Answer(Targets([_gate(each) for each in self.gates.states()]))

    async def last_refused(self, asked: Asked) -> Answer:
        return Answer(Refused([dict(line) for line in self.refused()]))


@dataclass(frozen=True, slots=True)
class _Reloading:
    reloads: Reloads

    async def last(self, asked: Asked) -> Answer:
        return Answer(self.reloads.last)

    async def now(self, asked: Asked) -> Answer:
        state = await self.reloads.on_request()
        return Answer(state, 200 if state.ok else 422)


def endpoints(running: Running) -> list[Endpoint]:
    table = [
        Endpoint("GET", "/api/routes", running.routes, "The routes in use, and what they have done.", {200: Routes}),
        Endpoint("GET", "/api/targets", running.targets, "The targets, and whether they are called.", {200: Targets}),
        Endpoint(
            "GET", "/api/reports/rejected", running.last_refused, "The last reports that were refused.", {200: Refused}
        ),
        *queue_endpoints(running.queue),
    ]
    if running.reloads is not None:
        reload, either = _Reloading(running.reloads), {200: ReloadState, 422: ReloadState}
        table += [
            Endpoint("GET", "/api/reload", reload.last, "How the last reload ended.", {200: ReloadState}),
            Endpoint("POST", "/api/reload", reload.now, "Load the routes anew; 422 leaves the old ones.", either),
        ]
    return table


def _state(route: Route, counts: RouteCounts | None) -> RouteState:
    source, target = route.source, route.target
    counts = counts or RouteCounts()
    return RouteState(
        name=route.name,
        source=source.provider.name,
        calls=[Call(form.name, form.method, source.path + form.path) for form in source.receive.requests],
        target=target.provider.name,
        host=target.host,
        mode=target.mode,
        mirrors=[
            Mirror(name=each.name, target=each.provider.name, host=each.host, mode=each.mode) for each in route.mirrors
        ],
        allow_loss=list(route.points.allow_loss),
        in_flight=counts.in_flight,
        reports=counts.reports,
        points=counts.points,
    )


def _gate(gate: Gate) -> TargetState:
    return TargetState(
        target=gate.target,
        key=gate.key,
        breaker=gate.breaker,
        opens_in_s=round(gate.opens_in_s, 1),
        cause=gate.cause,
        under_way=gate.under_way,
        attempts=gate.attempts,
        reason=gate.error.reason if gate.error else None,
        message=gate.error.message if gate.error else None,
        next_attempt_in_s=None if gate.next_attempt_in_s is None else round(gate.next_attempt_in_s, 1),
    )
