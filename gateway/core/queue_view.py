"""What lies in the queue, as people and metrics look at it. How it gets there: `delivery/queue`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """Where a point stands. A lease is a fact of the running process; on disk a leased point is a queued one."""

    QUEUED = "queued"
    LEASED = "leased"
    DEAD_LETTER = "dead_letter"


class Destination(NamedTuple):
    """Where a point goes: a route, and which of its targets (`send`, or the name of a mirror)."""

    route: str
    target: str


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """A stored point for display; `text` is its JSON, which may be unreadable: such a point is a dead letter.

    `not_before_ns` is 0 if the point was never postponed. `reason` and `message` say why it is dead, or how its
    last attempt failed.
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
    """How the last attempt failed of the postponed point that is due first, and when that is."""

    attempts: int
    not_before_ns: int
    reason: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class Depth:
    """How much waits for one destination; `queued` does not count the leased.

    `oldest_ns` is the receive time of the oldest point that is queued or leased. `failing` is None where no point was
    postponed.
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
    """The store at a glance. `failure` says why the disk takes nothing at the moment; `commits` counts transactions.

    `damaged_files` names files in the data folder that were damaged and set aside.
    """

    depths: Mapping[Destination, Depth]
    commits: int
    failure: str | None
    damaged_files: Sequence[str] = ()
