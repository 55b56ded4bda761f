"""Replies of the admin API that its client, `gateway queue`, reads as objects."""

from dataclasses import dataclass
from typing import Any

from gateway.core.queue_view import State as PointState


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a call failed."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueDepth:
    """What is stored for one target of a route: points by state, and their bytes.

    `oldest_s` is the age of the oldest point that is no dead letter, None if there is none. Where the target fails,
    `attempts` counts the failed attempts of the data point that is due first, `reason` and `message` are its error,
    and `next_attempt` is when it is sent again, in seconds since 1970.
    """

    route: str
    target: str
    queued: int
    leased: int
    dead_letter: int
    bytes: int
    oldest_s: float | None
    attempts: int
    reason: str | None
    message: str | None
    next_attempt: float | None


@dataclass(frozen=True, slots=True)
class QueueState:
    """The queue by target. `failure` says why the disk takes nothing at the moment.

    `damaged_files` names files in the data folder that were damaged and set aside; their data points are not sent.
    """

    targets: list[QueueDepth]
    failure: str | None
    damaged_files: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedPoint:
    """A stored data point; `point` is its text where that is none. `index` counts the items of its report from 0.

    Times are in seconds since 1970. A `queued` point that failed is sent again at `next_attempt`. `reason` and
    `message` say how its last attempt failed, or why it is dead-lettered.
    """

    id: int
    route: str
    target: str
    report_id: str
    index: int
    state: PointState
    attempts: int
    received: float
    next_attempt: float | None
    reason: str | None
    message: str | None
    point: dict[str, Any] | str


@dataclass(frozen=True, slots=True)
class QueuedPoints:
    """A page of points by id. Points that are large make it shorter than asked for; only an empty one is the last."""

    points: list[QueuedPoint]


@dataclass(frozen=True, slots=True)
class Changed:
    """How many data points it was."""

    points: int
