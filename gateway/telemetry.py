"""The metrics of the gateway in the Prometheus text format. One object per process; no global registry."""

import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.samples import Sample

from gateway import __version__
from gateway.core.outcome.outcome import Outcome
from gateway.core.queue_view import Depth, Destination

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


M = TypeVar("M", Counter, Gauge, Histogram)


@dataclass(slots=True)
class RouteCounts:
    """The counts of a route since the process started: `reports` by code, `points` by result."""

    in_flight: int = 0
    reports: dict[str, int] = field(default_factory=dict)
    points: dict[str, int] = field(default_factory=dict)


class Telemetry:
    """All metrics. Label values come from specs and closed lists, never from a request."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._of_routes: list[tuple[Counter | Gauge | Histogram, tuple[str, ...]]] = []
        self._reports = self._of_route(Counter, "gateway_reports", "Reports answered.", "code", "reason")
        self._points = self._of_route(Counter, "gateway_points", "Data points by result.", "result")
        self._ignored = self._of_route(
            Counter, "gateway_ignored_members", "Members of accepted reports that no expression reads."
        )
        self._report_seconds = self._of_route(
            Histogram, "gateway_report_seconds", "Time from the head of a report to its reply.", buckets=_BUCKETS
        )
        self._retries = self._of_route(
            Counter, "gateway_retried_points", "Stored data points that will be sent again after a failure.", "target"
        )
        self._dead_lettered = self._of_route(
            Counter, "gateway_dead_letter_points", "Stored data points that became dead letters.", "target", "reason"
        )
        self._mirrored = self._of_route(
            Counter, "gateway_mirrored_reports", "Reports sent to mirrors.", "mirror", "code", "reason"
        )
        self._upstream_seconds = self._of_route(
            Histogram,
            "gateway_upstream_seconds",
            "Time from sending a call to its last answer, including login, declarations and polls.",
            "code",
            buckets=_BUCKETS,
        )
        self._queue_points = self._of_route(Gauge, "gateway_queue_points", "Stored data points.", "target", "state")
        self._queue_bytes = self._of_route(Gauge, "gateway_queue_bytes", "Bytes of stored data points.", "target")
        self._queue_oldest = self._of_route(
            Gauge,
            "gateway_queue_oldest_seconds",
            "Age of the oldest data point that is not a dead letter, otherwise 0.",
            "target",
        )
        self._queue_failing = Gauge(
            "gateway_queue_failing", "1 if the disk of the queue fails.", registry=self.registry
        )
        self.damaged_files = Gauge(
            "gateway_queue_damaged_files", "Damaged files set aside in the data folder.", registry=self.registry
        )
        self._paused = self._of_route(
            Gauge, "gateway_target_paused", "1 if a target is paused after failures.", "target"
        )
        self.in_flight = self._of_route(Gauge, "gateway_reports_in_flight", "Verified reports being delivered.")
        self._unread = Counter(
            "gateway_unread_requests",
            "Requests and connections rejected before a route could be found.",
            ["cause"],
            registry=self.registry,
        )
        self.remembered = Gauge(
            "gateway_replay_entries", "Requests that are rejected if they are repeated.", registry=self.registry
        )
        self.bodies = Gauge(
            "gateway_unverified_bodies", "Bodies in memory that are not verified yet.", registry=self.registry
        )
        self.verified_bodies = Gauge(
            "gateway_verified_bodies", "Bodies being read of requests verified by their head.", registry=self.registry
        )
        self._reloads = Counter("gateway_reloads", "Reloads by result.", ["result"], registry=self.registry)
        self._reload_success = Gauge(
            "gateway_reload_success", "1 if the last load of the routes succeeded.", registry=self.registry
        )
        self._reload_time = Gauge(
            "gateway_reload_time_seconds",
            "Time of the last successful load of the routes, since 1970.",
            registry=self.registry,
        )
        build = Gauge("gateway_build_info", "The running version.", ["version", "python"], registry=self.registry)
        build.labels(__version__, sys.version.split()[0]).set(1)

    def _of_route(self, kind: type[M], name: str, words: str, *labels: str, **options: Any) -> M:
        """Make a metric whose series are removed together with their route."""
        metric = kind(name, words, ("route", *labels), registry=self.registry, **options)
        self._of_routes.append((metric, ("route", *labels)))
        return metric

    def report(self, route: str, outcome: Outcome, seconds: float) -> None:
        self._reports.labels(route, outcome.code, outcome.reason or "").inc()
        self._points.labels(route, "accepted").inc(outcome.accepted)
        self._points.labels(route, "rejected").inc(len(outcome.rejected))
        self._report_seconds.labels(route).observe(seconds)

    def retried(self, route: str, target: str, points: int) -> None:
        self._retries.labels(route, target).inc(points)

    def dead_lettered(self, route: str, target: str, reason: str, points: int) -> None:
        self._dead_lettered.labels(route, target, reason).inc(points)

    def mirrored(self, route: str, mirror: str, outcome: Outcome) -> None:
        self._mirrored.labels(route, mirror, outcome.code, outcome.reason or "").inc()

    def ignored(self, route: str, members: int) -> None:
        self._ignored.labels(route).inc(members)

    def upstream(self, route: str, outcome: Outcome, seconds: float) -> None:
        self._upstream_seconds.labels(route, outcome.code).observe(seconds)

    def queue(self, depths: Iterable[Depth]) -> None:
        """Set the gauges of the queue."""
        for metric in (self._queue_points, self._queue_bytes, self._queue_oldest):
            metric.clear()
        for depth in depths:
            for state, points in depth.points.items():
                self._queue_points.labels(*depth.destination, state).set(points)
            self._queue_bytes.labels(*depth.destination).set(depth.bytes)
            self._queue_oldest.labels(*depth.destination).set(depth.oldest_s or 0)

    def queue_failing(self, failing: bool) -> None:
        self._queue_failing.set(failing)

    def unread(self, cause: str) -> None:
        """Count a request that is not valid HTTP, or a connection above the limit."""
        self._unread.labels(cause).inc()

    def targets(self, paused: Mapping[Destination, bool]) -> None:
        """Set the gauge of paused targets."""
        self._paused.clear()
        for destination, is_paused in paused.items():
            self._paused.labels(*destination).set(is_paused)

    def loaded(self, at_s: float) -> None:
        """Record a successful load."""
        self._reload_success.set(1)
        self._reload_time.set(at_s)

    def reloaded(self, ok: bool, at_s: float) -> None:
        self._reloads.labels("ok" if ok else "failed").inc()
        if ok:
            self.loaded(at_s)
        else:
            self._reload_success.set(0)

    def keep_routes(self, names: Collection[str]) -> None:
        """Remove the series of other routes. A report that ends later adds one, until the next call."""
        for metric, labels in self._of_routes:
            for values in {tuple(sample.labels[each] for each in labels) for sample in _samples(metric)}:
                if values[0] not in names:
                    metric.remove(*values)

    def counts(self) -> Mapping[str, RouteCounts]:
        """Return the counts of the routes that received a report."""
        counts: defaultdict[str, RouteCounts] = defaultdict(RouteCounts)
        for sample in _samples(self._reports):
            if sample.name.endswith("_total"):
                by_code, code = counts[sample.labels["route"]].reports, sample.labels["code"]
                by_code[code] = by_code.get(code, 0) + int(sample.value)
        for sample in _samples(self._points):
            if sample.name.endswith("_total"):
                counts[sample.labels["route"]].points[sample.labels["result"]] = int(sample.value)
        for sample in _samples(self.in_flight):
            counts[sample.labels["route"]].in_flight = int(sample.value)
        return counts

    def text(self) -> bytes:
        """Return all metrics in the Prometheus text format 0.0.4."""
        return generate_latest(self.registry)


def _samples(metric: Counter | Gauge | Histogram) -> Iterator[Sample]:
    for family in metric.collect():
        yield from family.samples
