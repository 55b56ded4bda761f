"""Apply a route to data points: the source's rules, the route's own changes, then the target's rules."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from gateway.core.expression import EvaluationError
from gateway.core.outcome.outcome import Reason, RejectedItem
from gateway.core.points.decode import FIELD_READERS, Item
from gateway.core.points.point import DataPoint, Number
from gateway.core.points.rules import Dropped, Violation, apply_rules
from gateway.core.steps import STEP_ITEMS, Steps
from gateway.core.vendor.route import PointChanges, Route, Target


def change_items(
    route: Route, target: Target, items: Iterable[Item], now_ns: int
) -> Steps[tuple[list[Item], list[RejectedItem], int]]:
    """Return the items for a target, the rejected items, and the number of dropped items. One step per STEP_ITEMS.

    An item becomes several data points if the target cannot hold its statistics together.
    """
    kept: list[Item] = []
    rejected: list[RejectedItem] = []
    dropped = 0
    obeys = route.obeys.get(target.name)
    for count, item in enumerate(items, 1):
        if count % STEP_ITEMS == 0:
            yield False
        if obeys is not None and not item.point.stats and obeys(item.point, now_ns):
            kept.append(item)
            continue
        try:
            points = _points_for(route, target, item.point, now_ns)
        except Violation as error:
            rejected.append(RejectedItem(item.index, error.reason, error.message, item.item))
            continue
        except Dropped:
            points = []
        for point in points:
            kept.append(item if point is item.point else replace(item, point=point))
        dropped += not points
    return kept, rejected, dropped


def _points_for(route: Route, target: Target, point: DataPoint, now_ns: int) -> list[DataPoint]:
    """Return the data points for the target. Raises Violation or Dropped."""
    changed = apply_rules(route.source.rules, point, now_ns=now_ns)
    if changed is not point or not route.points.is_empty:
        changed = change_point(route.points, changed)
    points = []
    parts = spread_statistics(changed, route.points.stats, target.holds_stats) if changed.stats else (changed,)
    for part in parts:
        try:
            points.append(apply_rules(target.rules, part, now_ns=now_ns))
        except Dropped:
            continue
        except Violation as error:
            # The reporter's vendor allows this value; the target's vendor does not.
            reason = error.reason if error.reason is Reason.TOO_OLD else Reason.CANNOT_HOLD
            raise Violation(reason, f"the target cannot hold it: {error.message}") from error
    return points


def change_point(changes: PointChanges, point: DataPoint) -> DataPoint:
    """Apply `keep` and `set`. Raises Violation, or Dropped if `keep` drops the point."""
    try:
        names = point.as_mapping()
        if changes.keep is not None and not changes.keep(names):
            raise Dropped
        new: Mapping[str, Any] = {
            name: FIELD_READERS[name](value) if (value := expression(names)) is not None else None
            for name, expression in changes.set
        }
    except (EvaluationError, ValueError) as error:
        raise Violation(Reason.BAD_FIELD, str(error)) from error
    changed = replace(point, **new)
    has_value = changed.value is not None or bool(changed.stats)
    for name, present in (("metric", changed.metric), ("time_ns", changed.time_ns is not None), ("value", has_value)):
        if not present:
            raise Violation(Reason.MISSING_FIELD, f"{name} is missing")
    return changed


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
