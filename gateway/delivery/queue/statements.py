"""Every statement of the queue. Lists of ids travel as one JSON parameter, so that one statement serves any number."""

from collections.abc import Collection

from gateway.core.http.json import write_json
from gateway.core.queue_view import State
from gateway.delivery.queue.schema import DEAD_LETTER, QUEUED
from gateway.delivery.queue.tally import SIZE

IDS = "id IN (SELECT value FROM json_each(:ids))"
HELD = "(SELECT value FROM json_each(:held))"
INSERT = "INSERT INTO points (destination, report_id, item, received_ns, point) VALUES (?, ?, ?, ?, ?)"
COUNT = f"SELECT destination, state, count(*), sum({SIZE}) FROM points"
POSTPONE = f"""
    UPDATE points SET attempts = attempts + 1, not_before_ns = max(1, :until_ns), reason = :reason, message = :message
    WHERE state = {QUEUED} AND {IDS}
"""
TO_DEAD_LETTER = f"""
    UPDATE points SET state = {DEAD_LETTER}, not_before_ns = 0, reason = :reason, message = :message
    WHERE state = {QUEUED} AND {IDS}
"""
RETRY = f"""
    UPDATE points SET state = {QUEUED}, attempts = 0, not_before_ns = 0, reason = NULL, message = NULL
    WHERE (state = {DEAD_LETTER} OR not_before_ns > 0) AND {IDS}
"""
_DUE = f"""
    SELECT id, report_id, item, received_ns, attempts, point FROM points
    WHERE destination = :destination AND state = {QUEUED} AND not_before_ns %s
    AND id NOT IN {HELD} ORDER BY not_before_ns, id LIMIT :limit
"""
# Three ranges of one index: points that are new, those that were postponed and are due again, and those that are due
# later than any wait: the clock was set back since.
LEASE = f"""
    SELECT * FROM (
        SELECT * FROM ({_DUE % "= 0"}) UNION ALL SELECT * FROM ({_DUE % "BETWEEN 1 AND :now_ns"})
        UNION ALL SELECT * FROM ({_DUE % "> :latest_ns"})
    )
    ORDER BY attempts * :fresh_first, id LIMIT :limit
"""
NEXT_DUE = f"""
    SELECT min(not_before_ns) FROM points WHERE destination = ? AND state = {QUEUED} AND not_before_ns > ?
"""
# The postponed point that is due first: it says why its destination fails.
POSTPONED = f"""
    SELECT attempts, not_before_ns, reason, message FROM points
    WHERE destination = ? AND state = {QUEUED} AND not_before_ns > 0 ORDER BY not_before_ns LIMIT 1
"""
OLDEST = f"""
    SELECT id, received_ns FROM points NOT INDEXED
    WHERE id >= ? AND destination = ? AND state = {QUEUED} ORDER BY id LIMIT 1
"""
_SHOWN = f"""
    SELECT points.id, route, target, report_id, item, received_ns,
        state, points.id IN {HELD}, attempts, not_before_ns, reason, message, point
    FROM points %s CROSS JOIN destinations ON destinations.id = destination
    WHERE points.id > :after AND destination IN (SELECT value FROM json_each(:wanted)) %s
    ORDER BY points.id LIMIT :limit
"""
# In the order of ids as they lie, up to the limit: to sort a million points for one page would hold up the queue.
LIST = {
    None: _SHOWN % ("NOT INDEXED", ""),
    State.QUEUED: _SHOWN % ("NOT INDEXED", f"AND state = {QUEUED} AND points.id NOT IN {HELD}"),
    State.LEASED: _SHOWN % ("NOT INDEXED", f"AND points.id IN {HELD}"),
    State.DEAD_LETTER: _SHOWN % ("INDEXED BY points_dead_letter", f"AND state = {DEAD_LETTER}"),
}


def as_list(numbers: Collection[int]) -> str:
    """Return numbers as one parameter of a statement, for SQLite's json_each."""
    return write_json(list(numbers)).decode()
