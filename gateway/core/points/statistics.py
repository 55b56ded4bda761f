"""Spread the statistics of a data point over several points, for a target that cannot hold them all."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from gateway.core.outcome.outcome import Reason
from gateway.core.points.point import DataPoint, Number
from gateway.core.points.rules import Violation


def spread_statistics(point: DataPoint, wanted: str | None, held: Collection[str]) -> list[DataPoint]:
    """Return the points that carry a point's statistics.

    With `wanted`, one point has that statistic as its value. Otherwise the statistics in `held` stay together, and each
    other one becomes the value of a point `metric.statistic`. Raises Violation if the wanted statistic is missing.
    """
    if not point.stats:
        return [point]
    if wanted is not None:
        return [replace(point, value=_statistic(point.stats, wanted), stats=None)]
    others = [name for name in point.stats if name not in held]
    if not others:
        return [point]
    kept = {name: number for name, number in point.stats.items() if name in held}
    rest = [replace(point, stats=kept or None)] if kept or point.value is not None else []
    alone = (replace(point, metric=f"{point.metric}.{name}", value=point.stats[name], stats=None) for name in others)
    return [*rest, *alone]


def _statistic(stats: Mapping[str, Number], wanted: str) -> Number:
    if wanted in stats:
        return stats[wanted]
    if wanted == "avg" and "sum" in stats and stats.get("count"):
        return stats["sum"] / stats["count"]
    raise Violation(Reason.CANNOT_HOLD, f"stats.{wanted}, which the route sends as the value, is missing")
