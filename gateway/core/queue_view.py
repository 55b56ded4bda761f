"""The queue as the admin API, `gateway queue` and the metrics show it. The fields are those of the JSON replies."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple


class State(StrEnum):
    """The state of a stored point. Leases are kept in memory: on disk, a leased point is a queued one."""

    QUEUED = "queued"
    LEASED = "leased"
    DEAD_LETTER = "dead_letter"


class Destination(NamedTuple):
    """A route and one of its targets: `send`, or the name of a mirror."""

    route: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PointFilter:
    """Selects stored points that have all of these values; None selects any."""

    ids: list[int] | None = None
    state: State | None = None
    route: str | None = None
    target: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """A stored data point. `point` is the stored text if it is not a data point. `index` is its place in the report.

    `state` is a State. Times are in seconds since 1970. `next_attempt` is None unless a queued point is in backoff.
    `reason` and `message` are the error of the last attempt.
    """

    id: int
    route: str
    target: str
    report_id: str
    index: int
    state: str
    attempts: int
    received: float
    next_attempt: float | None
    reason: str | None
    message: str | None
    point: dict[str, Any] | str


@dataclass(frozen=True, slots=True)
class Depth:
    """The points stored for one destination, by state, and their bytes.

    `oldest_s` is the age of the oldest point that is not a dead letter. While points are in backoff, the last four
    fields are those of the first that is due.
    """

    route: str
    target: str
    queued: int = 0
    leased: int = 0
    dead_letter: int = 0
    bytes: int = 0
    oldest_s: float | None = None
    attempts: int = 0
    reason: str | None = None
    message: str | None = None
    next_attempt: float | None = None

    @property
    def destination(self) -> Destination:
        return Destination(self.route, self.target)

    @property
    def points(self) -> Mapping[State, int]:
        return {State.QUEUED: self.queued, State.LEASED: self.leased, State.DEAD_LETTER: self.dead_letter}


@dataclass(frozen=True, slots=True)
class QueueState:
    """The queue by target. `failure` is the error of its disk, if any, and `commits` the number of transactions.

    `damaged_files` are files in the data folder whose points are not sent until they are recovered.
    """

    targets: list[Depth]
    failure: str | None
    commits: int
    damaged_files: list[str]
