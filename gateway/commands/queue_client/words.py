"""Stored data points in words: a line of a list, and all that is known of one."""

from collections.abc import Iterable
from typing import Any

from gateway.commands.output.facts import Facts, present
from gateway.core.http.json import write_json
from gateway.core.moments import NS, format_moment
from gateway.web.admin.answers import QueueDepth, QueuedPoint

MAX_REASON_CHARS = 80
UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (0, "s"))


def depth_table(depths: Iterable[QueueDepth], now_s: float) -> list[tuple[str, ...]]:
    """Return rows, the first of them the head."""
    head = (
        "route",
        "target",
        "queued",
        "leased",
        "dead_letter",
        "bytes",
        "oldest",
        "attempts",
        "next attempt",
        "last error",
    )
    return [head, *(_depth_row(each, now_s) for each in depths)]


def point_table(points: Iterable[QueuedPoint], now_s: float) -> list[tuple[str, ...]]:
    """Return rows, the first of them the head."""
    head = ("id", "state", "route", "target", "age", "attempts", "next attempt", "metric", "reason")
    return [head, *(_point_row(each, now_s) for each in points)]


def point_facts(point: QueuedPoint, now_s: float) -> Facts:
    return present(
        {
            "data_point": str(point.id),
            "goes": f"by {point.route} to {point.target}",
            "state": point.state,
            "reason": _reason(point),
            "received": f"{_moment(point.received)}, {duration(now_s - point.received)} ago",
            "report": f"{point.report_id}, item {point.index}",
            "attempts": str(point.attempts),
            "next_attempt": _moment(point.next_attempt) if point.next_attempt else "",
            "point": _members(point.point),
        }
    )


def duration(seconds: float) -> str:
    """Return a time in its largest unit."""
    size, unit = next((size, unit) for size, unit in UNITS if abs(seconds) >= size)
    return f"{seconds / (size or 1):.0f} {unit}"


def _depth_row(depth: QueueDepth, now_s: float) -> tuple[str, ...]:
    numbers = (depth.queued, depth.leased, depth.dead_letter, depth.bytes)
    oldest = "" if depth.oldest_s is None else duration(depth.oldest_s)
    attempts = str(depth.attempts) if depth.attempts else ""
    error = _cut(_reason(depth))
    return (depth.route, depth.target, *map(str, numbers), oldest, attempts, _until(depth.next_attempt, now_s), error)


def _point_row(point: QueuedPoint, now_s: float) -> tuple[str, ...]:
    metric = point.point.get("metric") if isinstance(point.point, dict) else None
    return (
        str(point.id),
        point.state,
        point.route,
        point.target,
        duration(now_s - point.received),
        str(point.attempts),
        _until(point.next_attempt, now_s),
        _one_line(str(metric or "?")),
        _cut(_reason(point)),
    )


def _until(moment: float | None, now_s: float) -> str:
    """Return how long it is until then; what is past is due."""
    if moment is None:
        return ""
    return f"in {duration(moment - now_s)}" if moment > now_s else "now"


def _reason(failed: QueuedPoint | QueueDepth) -> str:
    return _one_line(": ".join(text for text in (failed.reason, failed.message) if text))


def _cut(reason: str) -> str:
    return f"{reason[:MAX_REASON_CHARS]}…" if len(reason) > MAX_REASON_CHARS else reason


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _moment(seconds: float) -> str:
    return f"{format_moment(int(seconds * NS), '%Y-%m-%d %H:%M:%S')} UTC"


def _members(point: dict[str, Any] | str) -> str | dict[str, str]:
    if isinstance(point, str):
        return f"cannot be read: {point}"
    return {name: value if isinstance(value, str) else write_json(value).decode() for name, value in point.items()}
