"""Counters and histograms, and their Prometheus text. One object a process; nothing global."""

import sys

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from gateway import __version__
from gateway.core.outcome import Outcome

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Telemetry:
    """What the gateway counts. Label values come from specs and closed lists, never from a request."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._reports = Counter(
            "gateway_reports",
            "Reports answered.",
            ["route", "code", "reason"],
            registry=self.registry,
        )
        self._points = Counter(
            "gateway_points",
            "Data points by what became of them.",
            ["route", "result"],
            registry=self.registry,
        )
        self._ignored = Counter(
            "gateway_ignored_members",
            "Members of accepted reports that no mapping reads.",
            ["route"],
            registry=self.registry,
        )
        self._report_seconds = Histogram(
            "gateway_report_seconds",
            "From a report's head to its reply.",
            ["route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._upstream_seconds = Histogram(
            "gateway_upstream_seconds",
            "From sending a call to its last answer, with what goes before and after it: login, declaration, polls.",
            ["route", "code"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge("gateway_reports_in_flight", "Reports being handled.", ["route"], registry=self.registry)
        build = Gauge("gateway_build_info", "The running version.", ["version", "python"], registry=self.registry)
        build.labels(__version__, sys.version.split()[0]).set(1)

    def report(self, route: str, outcome: Outcome, seconds: float) -> None:
        self._reports.labels(route, outcome.code, outcome.reason or "").inc()
        self._points.labels(route, "accepted").inc(outcome.accepted)
        self._points.labels(route, "rejected").inc(len(outcome.rejected))
        self._report_seconds.labels(route).observe(seconds)

    def ignored(self, route: str, members: int) -> None:
        self._ignored.labels(route).inc(members)

    def upstream(self, route: str, outcome: Outcome, seconds: float) -> None:
        self._upstream_seconds.labels(route, outcome.code).observe(seconds)

    def text(self) -> bytes:
        """Return everything in the Prometheus text format 0.0.4."""
        return generate_latest(self.registry)
