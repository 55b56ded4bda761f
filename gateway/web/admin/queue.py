"""The queue in the admin API: list, count, retry and drop stored data points."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from gateway.core.http.request import Response
from gateway.core.outcome.outcome import Code
from gateway.core.queue_view import Depth, Destination, PointFilter, QueueState, State, StoredPoint
from gateway.web.admin.app import Endpoint, Table, as_json
from gateway.web.admin.guard import Denied

PATH = "/api/queue"
PAGE = 100
LARGEST_PAGE = 1000
FILTERS = {
    "route": "Of this route.",
    "target": "To this target: send, or a mirror.",
    "state": f"{', '.join(State)}.",
    "reason": "With this reason.",
}
PAGING = {"after": "The last id of the page before.", "limit": f"Page size, {PAGE} by default, {LARGEST_PAGE} at most."}
CHANGE = {"ids": "Ids of points; or a state with other filters:", **FILTERS, "limit": "At most so many."}

Members = Mapping[str, Any]
Row = TypeVar("Row", Depth, StoredPoint)


class Queue(Protocol):
    """Implemented by `gateway.delivery.queue.Store`."""

    async def state(self) -> QueueState: ...
    async def points(self, which: PointFilter, *, after: int, limit: int) -> Sequence[StoredPoint]: ...
    async def count(self, which: PointFilter) -> int: ...
    async def retry(self, which: PointFilter, limit: int | None = None) -> int: ...
    async def drop(self, which: PointFilter, limit: int | None = None) -> int: ...


@dataclass(frozen=True, slots=True)
class QueueApi:
    """The handlers. `queue` is None without a data folder.

    `paused_s` returns the remaining pause of a destination, and `wake` announces due points to its worker.
    """

    queue: Queue | None = None
    paused_s: Callable[[Destination], float] = lambda destination: 0.0
    wake: Callable[[Destination], None] = lambda destination: None

    def table(self) -> Table:
        number = {"id": "Its id."}
        return {
            ("GET", PATH): Endpoint(self._state, "The stored points of each target."),
            ("GET", f"{PATH}/points"): Endpoint(self._points, "Stored data points by id.", FILTERS | PAGING),
            ("GET", f"{PATH}/count"): Endpoint(self._count, "How many points match; costs a scan.", FILTERS),
            ("GET", f"{PATH}/point"): Endpoint(self._point, "One of them.", number),
            ("POST", f"{PATH}/retry"): Endpoint(self._retry, "Make dead letters and delayed points due.", CHANGE),
            ("POST", f"{PATH}/drop"): Endpoint(self._drop, "Delete points.", CHANGE),
        }

    async def _state(self, members: Members) -> Response:
        state = await self._open.state()
        return as_json(replace(state, targets=[self._with_pause(depth) for depth in state.targets]))

    async def _points(self, members: Members) -> Response:
        after, limit = _number(members, "after", 0), _number(members, "limit", PAGE)
        found = await self._open.points(_filter(members), after=after, limit=max(1, min(limit, LARGEST_PAGE)))
        return as_json({"points": [self._with_pause(point) for point in found]})

    async def _count(self, members: Members) -> Response:
        return as_json({"points": await self._open.count(_filter(members))})

    async def _point(self, members: Members) -> Response:
        number = _number(members, "id")
        found = await self._open.points(PointFilter(ids=[number]), after=0, limit=1)
        if not found:
            raise Denied(404, Code.NOT_FOUND, f"the queue holds no data point {number}")
        return as_json(self._with_pause(found[0]))

    async def _retry(self, members: Members) -> Response:
        changed = await self._open.retry(*_change(members))
        for depth in (await self._open.state()).targets:
            self.wake(depth.destination)
        return as_json({"points": changed})

    async def _drop(self, members: Members) -> Response:
        return as_json({"points": await self._open.drop(*_change(members))})

    def _with_pause(self, row: Row) -> Row:
        """Move the next attempt behind the pause of the target."""
        if row.next_attempt is None or not (paused_s := self.paused_s(Destination(row.route, row.target))):
            return row
        return replace(row, next_attempt=max(row.next_attempt, round(time.time() + paused_s, 3)))

    @property
    def _open(self) -> Queue:
        if self.queue is None:
            raise Denied(404, Code.NOT_FOUND, "this gateway keeps no queue: serve was started without --data DIR")
        return self.queue


def _change(members: Members) -> tuple[PointFilter, int | None]:
    """Return the filter and the limit of a change: ids alone, or a state with other filters."""
    which = _filter(members)
    if (which.ids is not None and len(members) > 1) or (which.ids is None and which.state is None):
        raise _invalid("give either ids, or a state, and with it route, target, reason and limit if need be")
    return which, _number(members, "limit") if "limit" in members else None


def _filter(members: Members) -> PointFilter:
    ids, state = members.get("ids"), members.get("state")
    if ids is not None and not (isinstance(ids, list) and all(type(each) is int for each in ids)):
        raise _invalid("ids: must be a list of whole numbers")
    if state is not None and state not in list(State):
        raise _invalid(f"unknown state {state!r}; known: {', '.join(State)}")
    texts = {name: members.get(name) for name in ("route", "target", "reason")}
    for name, text in texts.items():
        if not isinstance(text, str | None):
            raise _invalid(f"{name}: {text!r} is not text")
    return PointFilter(ids=ids, state=None if state is None else State(state), **texts)


def _number(members: Members, name: str, default: int | None = None) -> int:
    value = members.get(name, default)
    if value is None:
        raise _invalid(f"{name} is missing")
    if not re.fullmatch("[0-9]{1,18}", str(value)):
        raise _invalid(f"{name}: {value!r} is not a whole number")
    return int(value)


def _invalid(message: str) -> Denied:
    return Denied(400, Code.INVALID_ARGUMENT, message)
