"""The table of the admin API: routes, targets, rejected reports, reloads and the queue."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from gateway.core.http.request import Response
from gateway.core.sending.target_state import TargetState
from gateway.core.vendor.route import Route, Target
from gateway.core.vendor.routing import Snapshot
from gateway.telemetry import Telemetry
from gateway.web.admin.app import Endpoint, Table, as_json
from gateway.web.admin.queue import QueueApi

Members = Mapping[str, Any]


class Reloads(Protocol):
    """Implemented by `gateway.reload.Reloader`. The state is its JSON, and has `ok`."""

    @property
    def last(self) -> Any: ...
    async def on_request(self) -> Any: ...


def endpoints(
    *,
    snapshot: Callable[[], Snapshot],
    telemetry: Telemetry,
    rejected: Callable[[], Sequence[Members]],
    targets: Callable[[], Iterable[TargetState]],
    queue: QueueApi,
    reloads: Reloads | None = None,
) -> Table:
    """Return the endpoints of a running gateway. `reloads` is None if the routes cannot be reloaded."""

    async def routes(members: Members) -> Response:
        in_flight = telemetry.counts("gateway_reports_in_flight", "route")
        reports = telemetry.counts("gateway_reports", "code")
        points = telemetry.counts("gateway_points", "result")
        rows = [
            {
                **_route(route),
                "in_flight": in_flight[route.name].total(),
                "reports": reports[route.name],
                "points": points[route.name],
            }
            for route in snapshot().routes
        ]
        return as_json({"routes": rows})

    async def all_targets(members: Members) -> Response:
        return as_json({"targets": list(targets())})

    async def all_rejected(members: Members) -> Response:
        return as_json({"rejected": list(rejected())})

    return {
        ("GET", "/api/routes"): Endpoint(routes, "The routes in use and their counts."),
        ("GET", "/api/targets"): Endpoint(all_targets, "The targets and whether they are paused."),
        ("GET", "/api/reports/rejected"): Endpoint(all_rejected, "The last rejected reports."),
        **queue.table(),
        **({} if reloads is None else _reload_table(reloads)),
    }


def _reload_table(reloads: Reloads) -> Table:
    async def last(members: Members) -> Response:
        return as_json(reloads.last)

    async def now(members: Members) -> Response:
        state = await reloads.on_request()
        return as_json(state, 200 if state.ok else 422)

    return {
        ("GET", "/api/reload"): Endpoint(last, "The result of the last reload."),
        ("POST", "/api/reload"): Endpoint(now, "Reload the routes; on 422 the old ones stay in use."),
    }


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
    return {"target": target.provider.name, "host": target.url.host, "mode": target.mode}
