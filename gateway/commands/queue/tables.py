"""Stored data points and the state of the queue as rows of a table, and all that is known of one point."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from gateway.core.http.json import write_json

MAX_REASON_CHARS = 80
UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (0, "s"))
STATE_HEAD = (
    *("route", "target", "queued", "leased", "dead_letter", "bytes"),
    *("oldest", "attempts", "next attempt", "last error"),
)
POINTS_HEAD = ("id", "state", "route", "target", "age", "attempts", "next attempt", "metric", "reason")


def state_rows(targets: Sequence[dict[str, Any]], now_s: float) -> list[tuple[str, ...]]:
    """Return the head and a row for each target."""
    rows = [
        (
            *(str(each[name]) for name in STATE_HEAD[:6]),
            "" if each["oldest_s"] is None else duration(each["oldest_s"]),
            str(each["attempts"] or ""),
            _until(each["next_attempt"], now_s),
            _cut(_reason(each)),
        )
        for each in targets
    ]
    return [STATE_HEAD, *rows]


def point_rows(points: Sequence[dict[str, Any]], now_s: float) -> list[tuple[str, ...]]:
    """Return the head and a row for each data point."""
    rows = [
        (
            *(str(each[name]) for name in POINTS_HEAD[:4]),
            duration(now_s - each["received"]),
            str(each["attempts"]),
            _until(each["next_attempt"], now_s),
            _one_line(str((isinstance(each["point"], dict) and each["point"].get("metric")) or "?")),
            _cut(_reason(each)),
        )
        for each in points
    ]
    return [POINTS_HEAD, *rows]


def point_facts(point: dict[str, Any], now_s: float) -> dict[str, str]:
    """Return all that is known of a data point, by name."""
    content = point["point"]
    facts = {
        "route": f"{point['route']}, target {point['target']}",
        "state": str(point["state"]),
        "reason": _reason(point),
        "received": f"{_moment(point['received'])}, {duration(now_s - point['received'])} ago",
        "report": f"{point['report_id']}, item {point['index']}",
        "attempts": str(point["attempts"]),
        "next attempt": _moment(point["next_attempt"]) if point["next_attempt"] else "",
        "point": content if isinstance(content, str) else write_json(content).decode(),
    }
    return {name: text for name, text in facts.items() if text}


def duration(seconds: float) -> str:
    """Return a time in its largest unit."""
    size, unit = next((size, unit) for size, unit in UNITS if abs(seconds) >= size)
    return f"{seconds / (size or 1):.0f} {unit}"


def _until(moment: float | None, now_s: float) -> str:
    if moment is None:
        return ""
    return f"in {duration(moment - now_s)}" if moment > now_s else "now"


def _reason(failed: dict[str, Any]) -> str:
    return _one_line(": ".join(failed[name] for name in ("reason", "message") if failed[name]))


def _cut(reason: str) -> str:
    return f"{reason[:MAX_REASON_CHARS]}…" if len(reason) > MAX_REASON_CHARS else reason


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
