"""Selects stored points by filter, for display and for changes. Filters are implemented here only."""

import sqlite3
from collections.abc import Collection
from typing import Any

from gateway.core.http.json import read_json, write_json
from gateway.core.moments import NS
from gateway.core.queue_view import PointFilter, State, StoredPoint
from gateway.delivery.queue.database import DEAD_LETTER, QUEUED

# A page of larger points is shorter than requested.
MAX_PAGE_CHARS = 4_194_304
HELD = "(SELECT value FROM json_each(:held))"
_COLUMNS = f"""
    points.id, route, target, report_id, item, state, points.id IN {HELD}, attempts, received_ns, not_before_ns, reason,
    message, point
"""
# In the order of ids, stopping at the limit: sorting a million points for one page would block the queue.
_BY_STATE = {
    None: ("NOT INDEXED", "TRUE"),
    State.QUEUED: ("NOT INDEXED", f"state = {QUEUED} AND points.id NOT IN {HELD}"),
    State.LEASED: ("NOT INDEXED", f"points.id IN {HELD}"),
    State.DEAD_LETTER: ("INDEXED BY points_dead_letter", f"state = {DEAD_LETTER}"),
}


def as_list(numbers: Collection[int]) -> str:
    """Return numbers as one SQL parameter, for json_each."""
    return write_json(list(numbers)).decode()


def seconds(nanoseconds: int) -> float:
    return round(nanoseconds / NS, 3)


class Listing:
    """Reads the points of a filter. `held` are the ids of leased points."""

    def __init__(self, connection: sqlite3.Connection, which: PointFilter, held: Collection[int]) -> None:
        self._connection = connection
        index, state = _BY_STATE[which.state]
        ids = "" if which.ids is None else "AND points.id IN (SELECT value FROM json_each(:ids))"
        self._matching = f"""
            FROM points {index} CROSS JOIN destinations ON destinations.id = destination
            WHERE points.id > :after AND {state} {ids}
            AND (:route IS NULL OR route = :route) AND (:target IS NULL OR target = :target)
            AND (:reason IS NULL OR reason = :reason)
        """
        # SQLite stores 64-bit ids; a person may have typed any number.
        possible = [each for each in which.ids or () if 0 < each < 2**63]
        names = {"route": which.route, "target": which.target, "reason": which.reason}
        self._names: dict[str, Any] = {**names, "held": as_list(held), "ids": as_list(possible)}

    def points(self, after: int, limit: int) -> list[StoredPoint]:
        """Return points by id, from the first after `after`. Empty only after the last one."""
        found: list[StoredPoint] = []
        chars = 0
        for row in self._select(_COLUMNS, after, limit):
            found.append(_stored_point(*row))
            chars += len(row[-1])
            if chars > MAX_PAGE_CHARS:
                break
        return found

    def ids(self, after: int, limit: int) -> list[int]:
        return [point_id for (point_id,) in self._select("points.id", after, limit)]

    def count(self) -> int:
        ((points,),) = self._connection.execute(f"SELECT count(*) {self._matching}", {**self._names, "after": 0})
        return int(points)

    def _select(self, columns: str, after: int, limit: int) -> sqlite3.Cursor:
        query = f"SELECT {columns} {self._matching} ORDER BY points.id LIMIT :limit"
        return self._connection.execute(query, {**self._names, "after": after, "limit": limit})


def _stored_point(
    point_id: int, route: str, target: str, report_id: str, index: int, on_disk: int, is_held: int, *rest: Any
) -> StoredPoint:
    attempts, received_ns, not_before_ns, reason, message, text = rest
    state = State.DEAD_LETTER if on_disk == DEAD_LETTER else State.LEASED if is_held else State.QUEUED
    return StoredPoint(
        id=point_id,
        route=route,
        target=target,
        report_id=report_id,
        index=index,
        state=state,
        attempts=attempts,
        received=seconds(received_ns),
        next_attempt=seconds(not_before_ns) if state is State.QUEUED and not_before_ns else None,
        reason=reason,
        message=message,
        point=_members(text),
    )


def _members(text: str) -> dict[str, Any] | str:
    try:
        members = read_json(text)
    except ValueError:
        return text
    return members if isinstance(members, dict) else text
