"""Reloads the specs: all of them are loaded and checked, then replaced at once, or not at all."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import structlog

from gateway.core.vendor.routing import Snapshot
from gateway.files import Fingerprints
from gateway.specs.load import Specs
from gateway.specs.watcher import changes, look, settle
from gateway.specs.yaml.diagnostic import Diagnostics, Mark, Severity
from gateway.telemetry import Telemetry

# The number of diagnostics in the log, and in an answer of the admin API.
LOGGED, ANSWERED = 5, 100
Cause = Literal["start", "files", "signal", "request"]
log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The source of the specs. `load` loads them again, and may raise OSError; `first` are those of the start.

    With `watch`, they are reloaded when their files change.
    """

    folder: Path
    load: Callable[[], Specs]
    first: Specs
    watch: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadState:
    """The result of the last reload. If it is not `ok`, the routes of that `generation` stay in use.

    `time` is in seconds since 1970. `generation` counts the snapshots that were in use, `routes` those in use now.
    `diagnostics` are the first hundred, errors first.
    """

    ok: bool
    cause: Cause
    time: float
    ms: float
    generation: int
    routes: int
    errors: int
    warnings: int
    diagnostics: list[dict[str, Any]]


class Reloader:
    """Reloads on request and when files change, in a thread, one reload at a time. `use` gets the new snapshot."""

    def __init__(self, origin: Origin, use: Callable[[Snapshot], None], telemetry: Telemetry) -> None:
        self._origin = origin
        self._use = use
        self._telemetry = telemetry
        self._one_at_a_time = asyncio.Lock()
        self._asked = self._served = 0
        self._seen: Fingerprints = origin.first.files
        self.last = self._state(origin.first, "start", time.monotonic(), 1, len(origin.first.routes))

    async def reload(self, cause: Cause) -> ReloadState:
        """Reload, and return the result. Requests during a reload share the next one, because the running one may have
        read the files before their last change."""
        self._asked = ticket = self._asked + 1
        async with self._one_at_a_time:
            if self._served < ticket:
                asked = self._asked
                await self._reload(cause)
                self._served = asked
            return self.last

    async def on_request(self) -> ReloadState:
        return await self.reload("request")

    async def watch(self) -> None:
        """Reload whenever the files differ from those of the last load, until the task is cancelled."""
        folder = self._origin.folder
        if not self._origin.watch:
            return
        async for _ in changes(folder, lambda: self._seen):
            if await settle(folder, self._seen) != self._seen:
                await self.reload("files")

    async def _reload(self, cause: Cause) -> None:
        started = time.monotonic()
        specs, snapshot = await asyncio.to_thread(self._read)
        self._seen = specs.files
        generation, routes = self.last.generation, self.last.routes
        if snapshot is not None:
            self._use(snapshot)
            generation, routes = generation + 1, len(snapshot.routes)
        state = self.last = self._state(specs, cause, started, generation, routes)
        self._telemetry.series("gateway_reloads", "ok" if state.ok else "failed").inc()
        names = ("cause", "generation", "routes", "ms", "errors", "warnings")
        problems = [each["text"] for each in state.diagnostics if each["severity"] != "note"]
        fields = {name: getattr(state, name) for name in names} | {"problems": problems[:LOGGED]}
        if not state.ok:
            log.error("reload_failed", **fields)
        elif not state.routes:
            log.warning("reloaded", **fields)
        else:
            log.info("reloaded", **fields)

    def _read(self) -> tuple[Specs, Snapshot | None]:
        """Load the specs, and return them with their snapshot; without errors only."""
        try:
            specs = self._origin.load()
            return specs, None if specs.diagnostics.has_errors else specs.snapshot
        except OSError as error:
            what = f"it cannot be read: {(error.strerror or str(error)).lower()}"
            place = str(error.filename or self._origin.folder)
        except Exception:
            log.exception("internal_error")
            what, place = "internal error, see the log", str(self._origin.folder)
        failed = Specs(Diagnostics(), files=look(self._origin.folder, self._seen))
        failed.diagnostics.error(Mark(place, 1, 1), "", what)
        return failed, None

    def _state(self, specs: Specs, cause: Cause, started: float, generation: int, routes: int) -> ReloadState:
        """Return the result of a load, and set its gauges."""
        found = sorted(specs.diagnostics, key=lambda each: each.severity is not Severity.ERROR)
        severities = [each.severity for each in found]
        ok, now = not specs.diagnostics.has_errors, round(time.time(), 3)
        self._telemetry.series("gateway_reload_success").set(ok)
        if ok:
            self._telemetry.series("gateway_reload_time_seconds").set(now)
        return ReloadState(
            ok=ok,
            cause=cause,
            time=now,
            ms=round((time.monotonic() - started) * 1000, 1),
            generation=generation,
            routes=routes,
            errors=severities.count(Severity.ERROR),
            warnings=severities.count(Severity.WARNING),
            diagnostics=[{**each.as_json(), "text": str(each)} for each in found[:ANSWERED]],
        )
