"""What people see of the queue: stored points, page by page."""

import sqlite3
from collections.abc import Collection
from typing import Any

from gateway.core.queue_view import Destination, State, StoredPoint
from gateway.delivery.queue.schema import DEAD_LETTER
from gateway.delivery.queue.statements import LIST, as_list

MAX_PAGE_CHARS = 4_194_304


def points(
    connection: sqlite3.Connection,
    wanted: Collection[int],
    held: Collection[int],
    state: State | None,
    after: int,
    limit: int,
) -> list[StoredPoint]:
    """Return the points of the destinations of these numbers, by id; `held` are the ids that are leased.

    They are fewer than `limit` where their texts are large, and none only where there are none.
    """
    names = {"wanted": as_list(wanted), "held": as_list(held), "after": after, "limit": limit}
    found: list[StoredPoint] = []
    chars = 0
    for row in connection.execute(LIST[state], names):
        found.append(_point(*row))
        chars += len(found[-1].text)
        if chars > MAX_PAGE_CHARS:
            break
    return found


def _point(point_id: int, route: str, target: str, report_id: str, index: int, *more: Any) -> StoredPoint:
    received_ns, on_disk, is_held, attempts, not_before_ns, reason, message, text = more
    state = State.DEAD_LETTER if on_disk == DEAD_LETTER else State.LEASED if is_held else State.QUEUED
    return StoredPoint(
        point_id,
        Destination(route, target),
        report_id,
        index,
        received_ns,
        state,
        attempts,
        not_before_ns,
        reason,
        message,
        text,
    )
