"""Selects stored points by filter, for display and for changes. Filters are implemented here only."""

import sqlite3
from collections.abc import Collection
from typing import Any

from gateway.core.http.json import read_json, write_json
from gateway.core.queue_view import PointFilter, State, StoredPoint
from gateway.delivery.queue.database import DEAD_LETTER, QUEUED

# A page of larger points is shorter than requested.
MAX_PAGE_CHARS = 4_194_304
HELD = "(SELECT value FROM json_each(:held))"
# The fields of StoredPoint, in their order.
_FIELDS = f"""
    points.id, route, target, report_id, item,
    CASE WHEN state = {DEAD_LETTER} THEN 'dead_letter' WHEN points.id IN {HELD} THEN 'leased' ELSE 'queued' END,
    attempts, round(received_ns / 1e9, 3),
    CASE WHEN not_before_ns > 0 AND points.id NOT IN {HELD} THEN round(not_before_ns / 1e9, 3) END,
    reason, message, point
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
            ORDER BY points.id LIMIT :limit
        """
        # SQLite stores 64-bit ids; a person may have typed any number.
        possible = [each for each in which.ids or () if 0 < each < 2**63]
        names = {"route": which.route, "target": which.target, "reason": which.reason}
        self._names: dict[str, Any] = {**names, "held": as_list(held), "ids": as_list(possible)}

    def points(self, after: int, limit: int) -> list[StoredPoint]:
        """Return points by id, from the first after `after`. Empty only after the last one."""
        found: list[StoredPoint] = []
        chars = 0
        for *fields, text in self._select(_FIELDS, after, limit):
            found.append(StoredPoint(*(*fields, _members(text))))
            chars += len(text)
            if chars > MAX_PAGE_CHARS:
                break
        return found

    def ids(self, after: int, limit: int) -> list[int]:
        return [point_id for (point_id,) in self._select("points.id", after, limit)]

    def count(self) -> int:
        ((points,),) = self._select("count(*)", 0, 1)
        return int(points)

    def _select(self, columns: str, after: int, limit: int) -> sqlite3.Cursor:
        return self._connection.execute(
            f"SELECT {columns} {self._matching}", {**self._names, "after": after, "limit": limit}
        )


def _members(text: str) -> dict[str, Any] | str:
    try:
        members = read_json(text)
    except ValueError:
        return text
    return members if isinstance(members, dict) else text
