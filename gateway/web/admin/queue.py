"""What the admin API says and does about the queue: its lines in the table, and their handlers."""

import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from pydantic import ConfigDict

from gateway.core.http.json import read_json
from gateway.core.moments import NS
from gateway.core.outcome.outcome import Code
from gateway.core.queue_view import Depth, Destination, QueueStats, State, StoredPoint
from gateway.web.admin.answers import Changed, QueueDepth, QueuedPoint, QueuedPoints, QueueState
from gateway.web.admin.endpoint import ApiCall, ApiReply, Endpoint
from gateway.web.admin.guard import Denied

PAGE = 100
LARGEST_PAGE = 1000
FILTERS = {"route": "Of this route.", "target": "To this target: send, or a mirror.", "state": f"{', '.join(State)}."}
PAGING = {"after": "The last id of the page before.", "limit": f"At most so many, up to {LARGEST_PAGE}; else {PAGE}."}

Change = Callable[[Collection[int]], Awaitable[int]]


class Queue(Protocol):
    """What the handlers ask of the store."""

    async def stats(self) -> QueueStats: ...
    async def point(self, point_id: int) -> StoredPoint | None: ...
    async def points(
        self, *, route: str | None, target: str | None, state: State | None, after: int, limit: int
    ) -> Sequence[StoredPoint]: ...
    async def retry(self, ids: Collection[int]) -> int: ...
    async def drop(self, ids: Collection[int]) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Points by their ids, or by filters: a state and, if given, a route and a target; at most `limit` of them.

    An unknown member is an error, so that a typing mistake does not select more points.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    ids: list[int] | None = None
    state: State | None = None
    route: str | None = None
    target: str | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class QueueCalls:
    """The handlers. `queue` is None where nothing is stored; `wake` is told of what is due again.

    `paused_s` gives how long a destination is not called, whatever is due.
    """

    queue: Queue | None = None
    paused_s: Callable[[Destination], float] = lambda destination: 0.0
    wake: Callable[[Destination], None] = lambda destination: None

    async def state(self, call: ApiCall) -> ApiReply:
        stats, now_ns = await self._open.stats(), time.time_ns()
        depths = [self._depth(destination, depth, now_ns) for destination, depth in sorted(stats.depths.items())]
        return ApiReply(QueueState(depths, stats.failure, list(stats.damaged_files)))

    async def points(self, call: ApiCall) -> ApiReply:
        query = call.query
        found = await self._open.points(
            route=query.get("route"),
            target=query.get("target"),
            state=_state(query["state"]) if "state" in query else None,
            after=_number(query, "after", 0),
            limit=max(1, min(_number(query, "limit", PAGE), LARGEST_PAGE)),
        )
        return ApiReply(QueuedPoints([self._point(each) for each in found]))

    async def point(self, call: ApiCall) -> ApiReply:
        number = _number(call.query, "id")
        found = await self._open.point(number)
        if found is None:
            raise Denied(404, Code.NOT_FOUND, f"the queue holds no data point {number}")
        return ApiReply(self._point(found))

    async def retry(self, call: ApiCall) -> ApiReply:
        changed = await self._change(call.body, self._open.retry)
        for destination in (await self._open.stats()).depths:
            self.wake(destination)
        return ApiReply(Changed(changed))

    async def drop(self, call: ApiCall) -> ApiReply:
        return ApiReply(Changed(await self._change(call.body, self._open.drop)))

    def _depth(self, destination: Destination, depth: Depth, now_ns: int) -> QueueDepth:
        failing = depth.failing
        return QueueDepth(
            route=destination.route,
            target=destination.target,
            queued=depth.queued,
            leased=depth.leased,
            dead_letter=depth.dead_letter,
            bytes=depth.bytes,
            oldest_s=None if depth.oldest_ns is None else _seconds(max(0, now_ns - depth.oldest_ns)),
            attempts=failing.attempts if failing else 0,
            reason=failing.reason if failing else None,
            message=failing.message if failing else None,
            next_attempt=self._next_attempt(destination, failing.not_before_ns) if failing else None,
        )

    def _point(self, stored: StoredPoint) -> QueuedPoint:
        return QueuedPoint(
            id=stored.id,
            route=stored.destination.route,
            target=stored.destination.target,
            report_id=stored.report_id,
            index=stored.index,
            state=stored.state,
            attempts=stored.attempts,
            received=_seconds(stored.received_ns),
            next_attempt=self._next_attempt(stored.destination, stored.not_before_ns)
            if stored.state is State.QUEUED and stored.not_before_ns
            else None,
            reason=stored.reason,
            message=stored.message,
            point=_read(stored.text),
        )

    def _next_attempt(self, destination: Destination, not_before_ns: int) -> float:
        paused_s = self.paused_s(destination)
        return max(_seconds(not_before_ns), round(time.time() + paused_s, 3) if paused_s else 0)

    @property
    def _open(self) -> Queue:
        if self.queue is None:
            raise Denied(404, Code.NOT_FOUND, "this gateway keeps no queue: serve was started without --data DIR")
        return self.queue

    async def _change(self, which: Which, change: Change) -> int:
        if which.ids is not None and which == Which(ids=which.ids):
            return await change(which.ids)
        if which.ids is not None or which.state is None:
            raise Denied(
                400, Code.INVALID_ARGUMENT, "give either ids, or a state, and with it route and target if need be"
            )
        return sum([await change(ids) async for ids in self._pages(which)])

    async def _pages(self, which: Which) -> AsyncIterator[list[int]]:
        """Yield the selected ids in ascending order, page by page."""
        after, left = 0, sys.maxsize if which.limit is None else which.limit
        while left > 0 and (
            page := await self._open.points(
                route=which.route, target=which.target, state=which.state, after=after, limit=min(left, LARGEST_PAGE)
            )
        ):
            yield [each.id for each in page]
            after, left = page[-1].id, left - len(page)


def queue_endpoints(calls: QueueCalls) -> list[Endpoint]:
    points, filters = "/api/queue/points", FILTERS | PAGING
    gives = Changed
    return [
        Endpoint("GET", "/api/queue", calls.state, "What is stored for each target.", QueueState),
        Endpoint("GET", points, calls.points, "Stored data points.", QueuedPoints, query=filters),
        Endpoint("GET", "/api/queue/point", calls.point, "One of them.", QueuedPoint, query={"id": "Its id."}),
        Endpoint("POST", "/api/queue/retry", calls.retry, "Make dead letters and postponed points due.", gives, Which),
        Endpoint("POST", "/api/queue/drop", calls.drop, "Forget points for good.", gives, Which),
    ]


def _read(text: str) -> dict[str, Any] | str:
    try:
        members = read_json(text)
    except ValueError:
        return text
    return members if isinstance(members, dict) else text


def _seconds(nanoseconds: int) -> float:
    return round(nanoseconds / NS, 3)


def _state(name: str) -> State:
    try:
        return State(name)
    except ValueError:
        raise Denied(400, Code.INVALID_ARGUMENT, f"state: {name!r} is none of {', '.join(State)}") from None


def _number(query: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = query.get(name)
    if text is None and default is not None:
        return default
    if text is None:
        raise Denied(400, Code.INVALID_ARGUMENT, f"{name} is missing")
    if not re.fullmatch("[0-9]{1,18}", text):
        raise Denied(400, Code.INVALID_ARGUMENT, f"{name}: {text!r} is not a whole number")
    return int(text)
