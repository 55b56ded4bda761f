"""Stored data points and the state of the queue as rows of a table, and the details of one point."""

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

Row = dict[str, Any]  # JSON of the admin API; core/queue_view.py has its members


def state_rows(targets: Sequence[Row], now_s: float) -> list[tuple[str, ...]]:
    """Return the head and a row for each target."""
    rows = [
        (
            *(str(depth[name]) for name in STATE_HEAD[:6]),
            "" if depth["oldest_s"] is None else duration(depth["oldest_s"]),
            str(depth["attempts"] or ""),
            _until(depth["next_attempt"], now_s),
            _cut(_reason(depth)),
        )
        for depth in targets
    ]
    return [STATE_HEAD, *rows]


def point_rows(points: Sequence[Row], now_s: float) -> list[tuple[str, ...]]:
    """Return the head and a row for each data point."""
    rows = [
        (
            *(str(point[name]) for name in POINTS_HEAD[:4]),
            duration(now_s - point["received"]),
            str(point["attempts"]),
            _until(point["next_attempt"], now_s),
            " ".join(str((isinstance(point["point"], dict) and point["point"].get("metric")) or "?").split()),
            _cut(_reason(point)),
        )
        for point in points
    ]
    return [POINTS_HEAD, *rows]


def point_facts(point: Row, now_s: float) -> dict[str, str]:
    """Return the details of a data point, by name."""
    facts = {
        "route": f"{point['route']}, target {point['target']}",
        "state": point["state"],
        "reason": _reason(point),
        "received": f"{_moment(point['received'])}, {duration(now_s - point['received'])} ago",
        "report": f"{point['report_id']}, item {point['index']}",
        "attempts": str(point["attempts"]),
        "next attempt": _moment(point["next_attempt"]) if point["next_attempt"] else "",
        "point": point["point"] if isinstance(point["point"], str) else write_json(point["point"]).decode(),
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


def _reason(row: Row) -> str:
    return " ".join(": ".join(text for text in (row["reason"], row["message"]) if text).split())


def _cut(reason: str) -> str:
    return f"{reason[:MAX_REASON_CHARS]}…" if len(reason) > MAX_REASON_CHARS else reason


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
