"""The admin port: is the process alive, may it get traffic, what has it counted, what did it refuse."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from gateway.core.model import Response
from gateway.core.reply import JSON
from gateway.telemetry import CONTENT_TYPE, Telemetry
from gateway.web.server import Incoming

_TEXT = ("Content-Type", "text/plain; charset=utf-8")


class Probes:
    """Answers `/healthz`, `/readyz`, `/metrics` and `/refused`.

    `is_ready` says whether this process wants traffic, `refused` gives the lines of the last refused reports.
    """

    def __init__(
        self, is_ready: Callable[[], bool], telemetry: Telemetry, refused: Callable[[], Sequence[Mapping[str, Any]]]
    ) -> None:
        self._is_ready = is_ready
        self._refused = refused
        self._telemetry = telemetry

    async def __call__(self, incoming: Incoming) -> Response:
        path = incoming.target.partition("?")[0]
        if incoming.method not in ("GET", "HEAD"):
            return Response(405, (_TEXT, ("Allow", "GET, HEAD")), b"only GET is answered here\n")
        if path == "/healthz":
            return Response(200, (_TEXT,), b"ok\n")
        if path == "/readyz":
            return Response(200, (_TEXT,), b"ready\n") if self._is_ready() else Response(503, (_TEXT,), b"not ready\n")
        if path == "/metrics":
            return Response(200, (("Content-Type", CONTENT_TYPE),), self._telemetry.text())
        if path == "/refused":
            return Response(200, (JSON,), orjson.dumps({"refused": self._refused()}))
        return Response(404, (JSON,), b'{"code":"NOT_FOUND","message":"known: /healthz, /readyz, /metrics, /refused"}')
