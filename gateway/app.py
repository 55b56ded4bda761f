"""The composition root: creates the listeners, the delivery service and every task, and stops them in order."""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from gateway.core.http.request import Secret
from gateway.core.vendor.routing import Snapshot
from gateway.delivery.queue import Limits as QueueLimits
from gateway.delivery.service import DeliveryService
from gateway.offload import Offloader
from gateway.reload import Origin, Reloader
from gateway.telemetry import Telemetry
from gateway.tls import Pair
from gateway.web.admin.app import Admin
from gateway.web.admin.endpoints import endpoints
from gateway.web.admin.guard import Guard
from gateway.web.admin.probes import Probes
from gateway.web.admin.queue import QueueApi
from gateway.web.certificate import Certificate
from gateway.web.ingress import MAX_IN_FLIGHT, Delivery, Ingress
from gateway.web.listener import Listener, listen, parse_address
from gateway.web.replay_memory import Replays
from gateway.web.server import HttpLimits

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a process. `admin` is the address of the admin port, None for no such port.

    `tls` applies to `listen` only. The admin API requires `admin_token`, its probes do not. `data` is the folder of the
    queue, `queue` its limits.
    """

    listen: str = "127.0.0.1:8080"
    tls: Pair | None = None
    admin: str | None = "127.0.0.1:9091"
    admin_token: Secret | None = None
    grace_s: float = 25
    drain_delay_s: float = 0
    max_in_flight: int = MAX_IN_FLIGHT
    data: Path | None = None
    queue: QueueLimits | None = None
    limits: HttpLimits = field(default_factory=HttpLimits)


class Gateway:
    """A running gateway. `gateway sink` replaces its `delivery`. Without `origin`, the snapshot is never reloaded."""

    def __init__(
        self,
        snapshot: Snapshot,
        settings: Settings,
        *,
        delivery: Delivery | None = None,
        origin: Origin | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._settings = settings
        self._replaced_delivery = delivery
        self._telemetry = Telemetry()
        self._ready = False
        self._offloader = Offloader()
        self._delivery: DeliveryService | None = None
        self._listener: Listener | None = None
        self._admin: Listener | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self.grace_s = settings.grace_s
        self.reloader = None if origin is None else Reloader(origin, self._use, self._telemetry)

    @property
    def address(self) -> str:
        return self._listener.address if self._listener else ""

    @property
    def admin_address(self) -> str:
        return self._admin.address if self._admin else ""

    async def start(self) -> None:
        """Open the queue and listen. Raises ValueError or OSError for an unusable address, BadPem for an unusable
        certificate, and CannotOpen for an unusable folder of the queue."""
        replays = Replays()
        self._telemetry.series("gateway_replay_entries").set_function(lambda: len(replays))
        self._delivery = await DeliveryService.open(
            self._telemetry,
            lambda: self._snapshot,
            data=self._settings.data,
            limits=self._settings.queue,
            offloader=self._offloader,
        )
        ingress = Ingress(
            lambda: self._snapshot,
            self._replaced_delivery or self._delivery,
            replays,
            self._telemetry,
            max_in_flight=self._settings.max_in_flight,
            offloader=self._offloader,
        )
        try:
            if self._settings.admin is not None:
                handler = self._admin_handler(self._settings.admin, ingress, self._delivery)
                self._admin = await listen(handler, self._settings.admin)
            certificate = None if self._settings.tls is None else Certificate(self._settings.tls)
            self._listener = await listen(
                ingress,
                self._settings.listen,
                limits=self._settings.limits,
                certificate=certificate,
                on_reject=lambda cause: self._telemetry.series("gateway_unread_requests", cause).inc(),
            )
        except (OSError, ValueError):
            await self._close()
            raise
        if certificate is not None:
            self._run(certificate.watch())
        if self.reloader is not None:
            self._run(self.reloader.watch())
        self._ready = True

    def reload_on_signal(self) -> None:
        if self.reloader is not None:
            self._run(self.reloader.reload("signal"))

    async def stop(self) -> None:
        """Report not ready, answer pending requests, drain and close, all within the grace period."""
        self._ready = False
        delay_s = min(self._settings.drain_delay_s, self.grace_s)
        await asyncio.sleep(delay_s)
        await self._close(self.grace_s - delay_s)

    async def _close(self, grace_s: float = 0) -> None:
        end = time.monotonic() + grace_s
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._listener is not None:
            await self._listener.close(grace_s)
        if self._delivery is not None:
            await self._delivery.close(end - time.monotonic())
        if self._admin is not None:
            await self._admin.close(0)
        self._offloader.close()

    def _admin_handler(self, address: str, ingress: Ingress, delivery: DeliveryService) -> Admin:
        table = endpoints(
            snapshot=lambda: self._snapshot,
            telemetry=self._telemetry,
            rejected=lambda: ingress.rejected,
            targets=delivery.limiter.states,
            queue=QueueApi(delivery.store, delivery.paused_for_s, delivery.wake),
            reloads=self.reloader,
        )
        probes = Probes(lambda: self._ready, self._telemetry, delivery.measure)
        guard = Guard(parse_address(address)[0], self._settings.admin_token)
        return Admin(probes, guard, table)

    def _use(self, snapshot: Snapshot) -> None:
        """Use a snapshot for new reports. Reports in progress keep the snapshot that they began with."""
        self._snapshot = snapshot
        self._telemetry.keep_routes({route.name for route in snapshot.routes})
        if self._delivery is not None:
            self._delivery.limiter.keep(target for route in snapshot.routes for target in route.targets)

    def _run(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("internal_error", exc_info=error)
