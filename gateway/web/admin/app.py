"""The admin port: the probes, and the admin API, whose paths are the rows of one table."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qsl

import orjson
from pydantic import ValidationError

from gateway.core.http.request import Headers, Request, Response
from gateway.core.outcome.errors import CallerError, GatewayError
from gateway.core.outcome.outcome import HTTP_STATUS_OF, Code
from gateway.core.outcome.reply import JSON
from gateway.web.admin.endpoint import ApiCall, ApiReply, Endpoint, Problem, adapter
from gateway.web.admin.guard import Denied, Guard
from gateway.web.admin.probes import PATHS, Probes
from gateway.web.server import Incoming

API = "/api"
MAX_BODY_BYTES = 65_536
BODY_TIMEOUT_S = 10


class Admin:
    """Answers every request to the admin port. `GET /api` lists the endpoints."""

    def __init__(self, probes: Probes, guard: Guard, endpoints: Sequence[Endpoint]) -> None:
        self._probes = probes
        self._guard = guard
        listing = Endpoint("GET", API, self._list, "This list.")
        self._endpoints: dict[tuple[str, str], Endpoint] = {
            (row.path, row.method): row for row in (listing, *endpoints)
        }

    async def __call__(self, incoming: Incoming) -> Response:
        request = Request(incoming.method, incoming.target, incoming.headers)
        if request.path in PATHS:
            return await self._probes.answer(request.method, request.path)
        try:
            reply = await self._answer(incoming, request)
        except Denied as denied:
            return _json(denied.status, Problem(denied.code, denied.message), denied.headers)
        except GatewayError as error:
            outcome = error.outcome
            return _json(HTTP_STATUS_OF[outcome.code], Problem(outcome.code, outcome.message))
        return _json(reply.status, reply.data)

    async def _answer(self, incoming: Incoming, request: Request) -> ApiReply:
        if incoming.problem is not None:
            raise CallerError(incoming.problem)
        self._guard.admit(request)
        endpoint = self._endpoint(request)
        query = _query(request, endpoint)
        if not endpoint.changes:
            return await endpoint.handle(ApiCall(query))
        self._guard.admit_change(request)
        body = await incoming.read_body(max_bytes=MAX_BODY_BYTES, timeout_s=BODY_TIMEOUT_S)
        return await endpoint.handle(ApiCall(query, _read(body, endpoint)))

    def _endpoint(self, request: Request) -> Endpoint:
        method = "GET" if request.method == "HEAD" else request.method
        endpoint = self._endpoints.get((request.path, method))
        if endpoint is not None:
            return endpoint
        known = [method for path, method in self._endpoints if path == request.path]
        if not known:
            raise Denied(404, Code.NOT_FOUND, f"unknown path {request.path!r}; GET {API} lists the paths")
        allow = ", ".join(["GET, HEAD" if method == "GET" else method for method in known])
        raise Denied(405, Code.UNIMPLEMENTED, f"this path allows {allow}", (("Allow", allow),))

    async def _list(self, call: ApiCall) -> ApiReply:
        rows = self._endpoints.values()
        listed = [{"method": row.method, "path": row.path, "summary": row.summary, "query": row.query} for row in rows]
        return ApiReply({"endpoints": listed})


def _query(request: Request, endpoint: Endpoint) -> dict[str, str]:
    query = dict(parse_qsl(request.query, keep_blank_values=True))
    unknown = query.keys() - endpoint.query.keys()
    if unknown:
        known = ", ".join(endpoint.query) or "none"
        raise Denied(400, Code.INVALID_ARGUMENT, f"unknown parameter {min(unknown)!r}; known: {known}")
    return query


def _read(body: bytes, endpoint: Endpoint) -> Any:
    if endpoint.takes is None:
        return None
    try:
        return adapter(endpoint.takes).validate_json(body)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, detail["loc"]))
        what = f"{place}: {detail['msg']}" if place else detail["msg"]
        raise Denied(400, Code.INVALID_ARGUMENT, f"invalid body: {what}") from None


def _json(status: int, data: Any, headers: Headers = ()) -> Response:
    try:
        body = orjson.dumps(data)
    except TypeError:  # text that is not UTF-8, such as a file name or a header of a report
        body = json.dumps(data, default=asdict).encode()
    return Response(status, (JSON, ("Cache-Control", "no-store"), *headers), body)
