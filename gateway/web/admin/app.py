"""The admin port: the probes, and the admin API, whose paths are the rows of one table."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

import orjson

from gateway.core.http.json import read_json
from gateway.core.http.request import Headers, Request, Response
from gateway.core.outcome.errors import CallerError, GatewayError
from gateway.core.outcome.outcome import Code
from gateway.core.outcome.reply import JSON
from gateway.web.admin.guard import Denied, Guard
from gateway.web.admin.probes import PATHS, Probes
from gateway.web.parser import Incoming

API = "/api"
MAX_BODY_BYTES = 65_536
BODY_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path. `parameters` describes the parameters of its query, or the members of its JSON body.

    `handle` gets them by name, and raises Denied or GatewayError.
    """

    handle: Callable[[Mapping[str, Any]], Awaitable[Response]]
    summary: str
    parameters: Mapping[str, str] = field(default_factory=dict)


Table = Mapping[tuple[str, str], Endpoint]  # by method and path


class Admin:
    """Answers every request to the admin port. `GET /api` lists the endpoints."""

    def __init__(self, probes: Probes, guard: Guard, table: Table) -> None:
        self._probes = probes
        self._guard = guard
        self._table: Table = {("GET", API): Endpoint(self._list, "This list."), **table}

    async def __call__(self, incoming: Incoming) -> Response:
        request = incoming.request
        if request.path in PATHS:
            return await self._probes.answer(request.method, request.path)
        try:
            if incoming.problem is not None:
                raise CallerError(incoming.problem)
            self._guard.admit(request)
            find(self._table, request)
            if request.method == "POST":
                self._guard.admit_change(request)
                body = await incoming.body.read(max_bytes=MAX_BODY_BYTES, timeout_s=BODY_TIMEOUT_S)
                request = replace(request, body=body)
        except (Denied, GatewayError) as error:
            return _problem(error)
        return await answer(self._table, request)

    async def _list(self, members: Mapping[str, Any]) -> Response:
        rows = [
            {
                "method": method,
                "path": path,
                "summary": endpoint.summary,
                "query" if method == "GET" else "body": endpoint.parameters,
            }
            for (method, path), endpoint in self._table.items()
        ]
        return as_json({"endpoints": rows})


async def answer(table: Table, request: Request) -> Response:
    """Run the endpoint of a request. `gateway queue` calls this without a server if the gateway is stopped."""
    try:
        endpoint = find(table, request)
        return await endpoint.handle(_members(request, endpoint))
    except (Denied, GatewayError) as error:
        return _problem(error)


def find(table: Table, request: Request) -> Endpoint:
    """Return the endpoint of a request. Raises Denied."""
    endpoint = table.get(("GET" if request.method == "HEAD" else request.method, request.path))
    if endpoint is not None:
        return endpoint
    known = [method for method, path in table if path == request.path]
    if not known:
        raise Denied(404, Code.NOT_FOUND, f"unknown path {request.path!r}; GET {API} lists the paths")
    allow = ", ".join(["GET, HEAD" if method == "GET" else method for method in known])
    raise Denied(405, Code.UNIMPLEMENTED, f"this path allows {allow}", (("Allow", allow),))


def as_json(data: Any, status: int = 200, headers: Headers = ()) -> Response:
    """Return a response with this JSON. `data` may contain dataclasses."""
    try:
        body = orjson.dumps(data)
    except TypeError:  # text that is not UTF-8, such as a file name or a header of a report; or a large integer
        body = json.dumps(data, default=asdict).encode()
    return Response(status, (JSON, ("Cache-Control", "no-store"), *headers), body)


def _members(request: Request, endpoint: Endpoint) -> dict[str, Any]:
    """Return the parameters by name. An unknown one is an error: an ignored filter would select too much."""
    members: dict[str, Any] = dict(parse_qsl(request.query, keep_blank_values=True))
    if request.method == "POST" and endpoint.parameters:
        try:
            body = read_json(request.body)
        except ValueError as error:
            raise Denied(400, Code.INVALID_ARGUMENT, f"invalid body: {error}") from None
        if not isinstance(body, dict):
            raise Denied(400, Code.INVALID_ARGUMENT, "invalid body: it must be a JSON object")
        members |= body
    if unknown := members.keys() - endpoint.parameters.keys():
        known = ", ".join(endpoint.parameters) or "none"
        raise Denied(400, Code.INVALID_ARGUMENT, f"unknown parameter {min(unknown)!r}; known: {known}")
    return members


def _problem(error: Denied | GatewayError) -> Response:
    if isinstance(error, Denied):
        return as_json({"code": error.code, "message": error.message}, error.status, error.headers)
    outcome = error.outcome
    return as_json({"code": outcome.code, "message": outcome.message}, outcome.code.status)
