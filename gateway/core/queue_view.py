"""Read models of the queue, for the admin API, metrics and commands. `delivery/queue` stores the data points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """The state of a stored point. Leases exist only in memory; on disk a leased point is queued."""

    QUEUED = "queued"
    LEASED = "leased"
    DEAD_LETTER = "dead_letter"


class Destination(NamedTuple):
    """A route and one of its targets: `send`, or the name of a mirror."""

    route: str
    target: str


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """A stored point. `text` is its JSON; a point whose JSON is damaged is a dead letter.

    `not_before_ns` is the time of the next attempt, 0 if none has failed. `reason` and `message` are the last error.
    """

    id: int
    destination: Destination
    report_id: str
    index: int
    received_ns: int
    state: State
    attempts: int
    not_before_ns: int
    reason: str | None
    message: str | None
    text: str


@dataclass(frozen=True, slots=True)
class LastFailure:
    """The last error of the postponed point with the earliest next attempt."""

    attempts: int
    not_before_ns: int
    reason: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class Depth:
    """The points of one destination. `queued` excludes leased points.

    `oldest_ns` is the receive time of the oldest queued or leased point. `failing` is None if no point is postponed.
    """

    queued: int = 0
    leased: int = 0
    dead_letter: int = 0
    bytes: int = 0
    oldest_ns: int | None = None
    failing: LastFailure | None = None

    @property
    def points(self) -> Mapping[State, int]:
        return {State.QUEUED: self.queued, State.LEASED: self.leased, State.DEAD_LETTER: self.dead_letter}


@dataclass(frozen=True, slots=True)
class QueueStats:
    """The state of the whole queue. `failure` is the current disk error; `commits` counts transactions.

    `damaged_files` lists the damaged files that were set aside in the data folder.
    """

    depths: Mapping[Destination, Depth]
    commits: int
    failure: str | None
    damaged_files: Sequence[str] = ()
