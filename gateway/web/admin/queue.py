"""The queue in the admin API: list, count, retry and drop stored data points."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import ClassVar, Protocol, TypeVar

from pydantic import ConfigDict

from gateway.core.outcome.outcome import Code
from gateway.core.queue_view import Depth, Destination, PointFilter, QueueState, State, StoredPoint
from gateway.web.admin.endpoint import ApiCall, ApiReply, Endpoint
from gateway.web.admin.guard import Denied

PAGE = 100
LARGEST_PAGE = 1000
FILTERS = {
    "route": "Of this route.",
    "target": "To this target: send, or a mirror.",
    "state": f"{', '.join(State)}.",
    "reason": "With this reason.",
}
PAGING = {"after": "The last id of the page before.", "limit": f"Page size, {PAGE} by default, {LARGEST_PAGE} at most."}

Row = TypeVar("Row", Depth, StoredPoint)


class Queue(Protocol):
    """Implemented by `gateway.delivery.queue.Store`, and by the client of `gateway queue` for a remote one."""

    async def state(self) -> QueueState: ...
    async def point(self, point_id: int) -> StoredPoint | None: ...
    async def points(self, which: PointFilter, *, after: int, limit: int) -> Sequence[StoredPoint]: ...
    async def count(self, which: PointFilter) -> int: ...
    async def retry(self, which: PointFilter, limit: int | None = None) -> int: ...
    async def drop(self, which: PointFilter, limit: int | None = None) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeBody(PointFilter):
    """The body of a change: ids, or a state with other filters. Unknown members are errors, not ignored filters."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    limit: int | None = None

    def check(self) -> None:
        if self.ids is not None and self == ChangeBody(ids=self.ids):
            return
        if self.ids is not None or self.state is None:
            what = "give either ids, or a state, and with it route, target, reason and limit if need be"
            raise Denied(400, Code.INVALID_ARGUMENT, what)


@dataclass(frozen=True, slots=True)
class QueueApi:
    """The handlers. `queue` is None without a data folder.

    `paused_s` returns the remaining pause of a destination, and `wake` announces due points to its worker.
    """

    queue: Queue | None = None
    paused_s: Callable[[Destination], float] = lambda destination: 0.0
    wake: Callable[[Destination], None] = lambda destination: None

    async def state(self, call: ApiCall) -> ApiReply:
        state = await self._open.state()
        return ApiReply(replace(state, targets=[self._with_pause(depth) for depth in state.targets]))

    async def points(self, call: ApiCall) -> ApiReply:
        after, limit = _number(call.query, "after", 0), _number(call.query, "limit", PAGE)
        which = _filter(call.query)
        found = await self._open.points(which, after=after, limit=max(1, min(limit, LARGEST_PAGE)))
        return ApiReply({"points": [self._with_pause(point) for point in found]})

    async def count(self, call: ApiCall) -> ApiReply:
        return ApiReply({"points": await self._open.count(_filter(call.query))})

    async def point(self, call: ApiCall) -> ApiReply:
        point_id = _number(call.query, "id")
        found = await self._open.point(point_id)
        if found is None:
            raise Denied(404, Code.NOT_FOUND, f"the queue holds no data point {point_id}")
        return ApiReply(self._with_pause(found))

    async def retry(self, call: ApiCall) -> ApiReply:
        call.body.check()
        changed = await self._open.retry(call.body, call.body.limit)
        for depth in (await self._open.state()).targets:
            self.wake(depth.destination)
        return ApiReply({"points": changed})

    async def drop(self, call: ApiCall) -> ApiReply:
        call.body.check()
        return ApiReply({"points": await self._open.drop(call.body, call.body.limit)})

    def _with_pause(self, row: Row) -> Row:
        """Move the next attempt behind the pause of the target."""
        paused_s = self.paused_s(Destination(row.route, row.target)) if row.next_attempt is not None else 0
        if not paused_s or row.next_attempt is None:
            return row
        return replace(row, next_attempt=max(row.next_attempt, round(time.time() + paused_s, 3)))

    @property
    def _open(self) -> Queue:
        if self.queue is None:
            raise Denied(404, Code.NOT_FOUND, "this gateway keeps no queue: serve was started without --data DIR")
        return self.queue


def queue_endpoints(api: QueueApi) -> list[Endpoint]:
    listing, point_id, path = FILTERS | PAGING, {"id": "Its id."}, "/api/queue"
    return [
        Endpoint("GET", path, api.state, "The stored points of each target."),
        Endpoint("GET", f"{path}/points", api.points, "Stored data points by id.", query=listing),
        Endpoint("GET", f"{path}/count", api.count, "How many points match; costs a scan.", query=FILTERS),
        Endpoint("GET", f"{path}/point", api.point, "One of them.", query=point_id),
        Endpoint("POST", f"{path}/retry", api.retry, "Make dead letters and delayed points due.", ChangeBody),
        Endpoint("POST", f"{path}/drop", api.drop, "Delete points.", ChangeBody),
    ]


def query_of(which: PointFilter) -> dict[str, str]:
    """Return the query parameters of a filter."""
    return {name: value for name, value in asdict(which).items() if name in FILTERS and value is not None}


def _filter(query: Mapping[str, str]) -> PointFilter:
    try:
        state = State(query["state"]) if "state" in query else None
    except ValueError:
        what = f"unknown state {query['state']!r}; known: {', '.join(State)}"
        raise Denied(400, Code.INVALID_ARGUMENT, what) from None
    return PointFilter(state=state, route=query.get("route"), target=query.get("target"), reason=query.get("reason"))


def _number(query: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = query.get(name)
    if text is None and default is not None:
        return default
    if text is None:
        raise Denied(400, Code.INVALID_ARGUMENT, f"{name} is missing")
    if not re.fullmatch("[0-9]{1,18}", text):
        raise Denied(400, Code.INVALID_ARGUMENT, f"{name}: {text!r} is not a whole number")
    return int(text)
