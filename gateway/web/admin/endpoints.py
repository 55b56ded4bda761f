"""The table of the admin API: routes, targets, rejected reports, reloads and the queue."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.core.sending.target_state import TargetState
from gateway.core.vendor.route import Route, Target
from gateway.core.vendor.routing import Snapshot
from gateway.telemetry import Telemetry
from gateway.web.admin.endpoint import ApiCall, ApiReply, Endpoint
from gateway.web.admin.queue import QueueApi, queue_endpoints


class Targets(Protocol):
    """Implemented by `gateway.delivery.limits.Gates`."""

    def states(self) -> Iterable[TargetState]: ...


class ReloadState(Protocol):
    @property
    def ok(self) -> bool: ...


class Reloads(Protocol):
    """Implemented by `gateway.reload.Reloader`."""

    @property
    def last(self) -> ReloadState: ...
    async def on_request(self) -> ReloadState: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The parts of a running gateway that the handlers read. `reloads` is None if the routes cannot be reloaded."""

    snapshot: Callable[[], Snapshot]
    telemetry: Telemetry
    rejected: Callable[[], Sequence[Mapping[str, Any]]]
    targets: Targets
    queue: QueueApi = field(default_factory=QueueApi)
    reloads: Reloads | None = None


def endpoints(running: Running) -> list[Endpoint]:
    async def routes(call: ApiCall) -> ApiReply:
        in_flight = running.telemetry.counts("gateway_reports_in_flight", "route")
        reports = running.telemetry.counts("gateway_reports", "code")
        points = running.telemetry.counts("gateway_points", "result")
        return ApiReply(
            {
                "routes": [
                    {
                        **_route(route),
                        "in_flight": in_flight[route.name].total(),
                        "reports": reports[route.name],
                        "points": points[route.name],
                    }
                    for route in running.snapshot().routes
                ]
            }
        )

    async def targets(call: ApiCall) -> ApiReply:
        return ApiReply({"targets": list(running.targets.states())})

    async def rejected(call: ApiCall) -> ApiReply:
        return ApiReply({"rejected": list(running.rejected())})

    table = [
        Endpoint("GET", "/api/routes", routes, "The routes in use and their counts."),
        Endpoint("GET", "/api/targets", targets, "The targets and whether they are paused."),
        Endpoint("GET", "/api/reports/rejected", rejected, "The last rejected reports."),
        *queue_endpoints(running.queue),
    ]
    if running.reloads is not None:
        table += _reload_endpoints(running.reloads)
    return table


def _reload_endpoints(reloads: Reloads) -> list[Endpoint]:
    async def last(call: ApiCall) -> ApiReply:
        return ApiReply(reloads.last)

    async def now(call: ApiCall) -> ApiReply:
        state = await reloads.on_request()
        return ApiReply(state, 200 if state.ok else 422)

    return [
        Endpoint("GET", "/api/reload", last, "The result of the last reload."),
        Endpoint("POST", "/api/reload", now, "Reload the routes; on 422 the old ones stay in use."),
    ]


def _route(route: Route) -> dict[str, Any]:
    source = route.source
    return {
        "name": route.name,
        "source": source.provider.name,
        "calls": [
            {"name": form.name, "method": form.method, "path": source.path + form.path}
            for form in source.receive.requests
        ],
        **_target(route.target),
        "mirrors": [{"name": mirror.name, **_target(mirror)} for mirror in route.mirrors],
        "allow_loss": list(route.points.allow_loss),
    }


def _target(target: Target) -> dict[str, str]:
    return {"target": target.provider.name, "host": target.host, "mode": target.mode}
