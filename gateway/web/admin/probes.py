"""The probes of the admin port, which require no credentials: liveness, readiness and metrics."""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.core.http.request import Response
from gateway.telemetry import CONTENT_TYPE, Telemetry

_TEXT = ("Content-Type", "text/plain; charset=utf-8")

PATHS = ("/healthz", "/readyz", "/metrics")


class Probes:
    """Answers the paths of `PATHS`. `is_ready` tells whether the process accepts traffic; `measure` updates gauges."""

    def __init__(
        self, is_ready: Callable[[], bool], telemetry: Telemetry, measure: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._is_ready = is_ready
        self._telemetry = telemetry
        self._measure = measure
        self._one_at_a_time = asyncio.Lock()

    async def answer(self, method: str, path: str) -> Response:
        if method not in ("GET", "HEAD"):
            return Response(405, (_TEXT, ("Allow", "GET, HEAD")), b"use GET or HEAD\n")
        if path == "/metrics":
            if self._measure is not None:
                await self._measure()
            async with self._one_at_a_time:
                # In a thread: rendering the metrics of hundreds of routes would block the loop.
                text = await asyncio.to_thread(self._telemetry.text)
            return Response(200, (("Content-Type", CONTENT_TYPE),), text)
        if path == "/readyz" and not self._is_ready():
            return Response(503, (_TEXT,), b"not ready\n")
        return Response(200, (_TEXT,), b"ready\n" if path == "/readyz" else b"ok\n")
