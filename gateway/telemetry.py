"""The metrics of the gateway in the Prometheus text format. One object per process; no global registry."""

import sys
from bisect import bisect_left
from collections import Counter as Count
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from gateway import __version__
from gateway.core.outcome.outcome import Outcome

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_BOUNDS = [*map(str, map(float, BUCKETS)), "+Inf"]

# Each metric, with its help and its labels. The series of a route are removed together with the route.
COUNTERS = {
    "gateway_reports": ("Reports answered.", "route", "code", "reason"),
    "gateway_points": ("Data points by result.", "route", "result"),
    "gateway_ignored_members": ("Members of accepted reports that no expression reads.", "route"),
    "gateway_retried_points": ("Stored data points that will be sent again after a failure.", "route", "target"),
    "gateway_dead_letter_points": ("Stored data points that became dead letters.", "route", "target", "reason"),
    "gateway_mirrored_reports": ("Reports sent to mirrors.", "route", "mirror", "code", "reason"),
    "gateway_unread_requests": ("Requests and connections rejected before a route could be found.", "cause"),
    "gateway_reloads": ("Reloads by result.", "result"),
}
GAUGES = {
    "gateway_reports_in_flight": ("Verified reports being delivered.", "route"),
    "gateway_target_paused": ("1 if a target is paused after failures.", "route", "target"),
    "gateway_queue_points": ("Stored data points.", "route", "target", "state"),
    "gateway_queue_bytes": ("Bytes of stored data points.", "route", "target"),
    "gateway_queue_oldest_seconds": (
        "Age of the oldest data point that is not a dead letter, otherwise 0.",
        "route",
        "target",
    ),
    "gateway_queue_failing": ("1 if the disk of the queue fails.",),
    "gateway_queue_damaged_files": ("Damaged files set aside in the data folder.",),
    "gateway_replay_entries": ("Requests that are rejected if they are repeated.",),
    "gateway_unverified_bodies": ("Bodies in memory that are not verified yet.",),
    "gateway_verified_bodies": ("Bodies being read of requests verified by their head.",),
    "gateway_reload_success": ("1 if the last load of the routes succeeded.",),
    "gateway_reload_time_seconds": ("Time of the last successful load of the routes, since 1970.",),
    "gateway_build_info": ("The running version.", "version", "python"),
}
HISTOGRAMS = {
    "gateway_report_seconds": ("Time from the head of a report to its reply.", "route"),
    "gateway_upstream_seconds": (
        "Time from sending a call to its last answer, including login, declarations and polls.",
        "route",
        "code",
    ),
}


class Total:
    """One series of a counter."""

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, number: float = 1) -> None:
        self.value += number

    def add_to(self, family: Any, labels: Sequence[str]) -> None:
        family.add_metric(labels, self.value)


class Observations:
    """One series of a histogram: the number of observed values in each bucket, and their sum."""

    def __init__(self) -> None:
        self.counts = [0] * len(_BOUNDS)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(BUCKETS, value)] += 1
        self.sum += value

    def add_to(self, family: Any, labels: Sequence[str]) -> None:
        family.add_metric(labels, list(zip(_BOUNDS, accumulate(self.counts), strict=True)), self.sum)


class Metric(Collector):
    """A counter or a histogram that one thread changes. Those of prometheus_client take up to ten times as long."""

    def __init__(self, family: Callable[[], Any], series: type[Total | Observations]) -> None:
        self._family = family
        self._make = series
        self._series: dict[tuple[str, ...], Total | Observations] = {}

    def labels(self, *values: str) -> Total | Observations:
        return self._series.setdefault(tuple(map(str, values)), self._make())

    def remove(self, *values: str) -> None:
        self._series.pop(values, None)

    def collect(self) -> Iterator[Any]:
        family = self._family()
        for values, series in list(self._series.items()):
            series.add_to(family, values)
        yield family


class Telemetry:
    """All metrics. Label values come from specs and closed lists, never from a request."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._metrics: dict[str, Any] = {}
        self._series: dict[tuple[str, ...], Any] = {}
        for name, (words, *labels) in COUNTERS.items():
            self._metrics[name] = Metric(partial(CounterMetricFamily, name, words, labels=labels), Total)
            self.registry.register(self._metrics[name])
        for name, (words, *labels) in GAUGES.items():
            self._metrics[name] = Gauge(name, words, labels, registry=self.registry)
        for name, (words, *labels) in HISTOGRAMS.items():
            family = partial(HistogramMetricFamily, name, words, labels=labels)
            self._metrics[name] = Metric(family, Observations)
            self.registry.register(self._metrics[name])
        self.series("gateway_build_info", __version__, sys.version.split()[0]).set(1)

    def series(self, name: str, *labels: str) -> Any:
        """Return the counter, gauge or histogram with these label values, which is looked up once."""
        key = (name, *labels)
        found = self._series.get(key)
        if found is None:
            metric = self._metrics[name]
            found = self._series[key] = metric.labels(*labels) if labels else metric
        return found

    def replace(self, name: str, values: Mapping[Any, float]) -> None:
        """Give a gauge these series, by tuples of label values, and no others."""
        gauge = self._metrics[name]
        gauge.clear()
        for labels, value in values.items():
            gauge.labels(*labels).set(value)

    def report(self, route: str, outcome: Outcome, seconds: float) -> None:
        """Count a report and its data points."""
        self.series("gateway_reports", route, outcome.code, outcome.reason or "").inc()
        accepted, rejected = (
            self.series("gateway_points", route, "accepted"),
            self.series("gateway_points", route, "rejected"),
        )
        if outcome.accepted:
            accepted.inc(outcome.accepted)
        if outcome.rejected:
            rejected.inc(len(outcome.rejected))
        self.series("gateway_report_seconds", route).observe(seconds)

    def keep_routes(self, names: Collection[str]) -> None:
        """Remove the series of other routes. A report that ends later adds one, until the next call."""
        self._series.clear()
        for name, (_, *labels) in (COUNTERS | GAUGES | HISTOGRAMS).items():
            if "route" in labels:
                for values in {tuple(sample.labels[label] for label in labels) for sample in self._samples(name)}:
                    if values[0] not in names:
                        self._metrics[name].remove(*values)

    def counts(self, name: str, label: str) -> Mapping[str, Count[str]]:
        """Return the counts of a metric by route and by this label."""
        counts: defaultdict[str, Count[str]] = defaultdict(Count)
        for sample in self._samples(name):
            counts[sample.labels["route"]][sample.labels[label]] += int(sample.value)
        return counts

    def text(self) -> bytes:
        """Return all metrics in the Prometheus text format 0.0.4."""
        return generate_latest(self.registry)

    def _samples(self, name: str) -> Iterator[Sample]:
        for family in self._metrics[name].collect():
            yield from family.samples
