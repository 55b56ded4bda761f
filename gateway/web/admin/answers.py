"""What the admin API answers, as data. The OpenAPI document is made of these classes and their words."""

from dataclasses import dataclass
from typing import Any, Literal

from gateway.core.queue_view import State as PointState
from gateway.core.sending.breaker import State
from gateway.core.vendor.route import Mode


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a call was refused."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Call:
    """A call that a route listens to."""

    name: str
    method: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """A further target of a route."""

    name: str
    target: str
    host: str
    mode: Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteState:
    """A route that is in use. `allow_loss` are the fields whose loss on the way to the target it accepts.

    Counts begin with the process; `reports` is by code, `points` by what became of them.
    """

    name: str
    source: str
    calls: list[Call]
    target: str
    host: str
    mode: Mode
    mirrors: list[Mirror]
    allow_loss: list[str]
    in_flight: int
    reports: dict[str, int]
    points: dict[str, int]


@dataclass(frozen=True, slots=True)
class Routes:
    routes: list[RouteState]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is wrong with a spec, where, and what to do; `text` is all of it in one line."""

    severity: Literal["error", "warning", "note"]
    file: str
    line: int
    column: int
    path: str
    what: str
    hint: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadState:
    """How the last reload ended. Where it is not `ok`, the routes of that `generation` go on.

    `time` is in seconds since 1970. `generation` counts the sets of routes that were in use, `routes` those in use now.
    `diagnostics` are the first hundred, errors first.
    """

    ok: bool
    cause: Literal["start", "files", "signal", "request"]
    time: float
    ms: float
    generation: int
    routes: int
    errors: int
    warnings: int
    diagnostics: list[Finding]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """A target that was called, by the account that calls it: `opens_in_s` is how long no call will go, `cause` why.

    Where it fails, `attempts` counts the calls that failed in a row, `reason` and `message` are the last error, and
    `next_attempt_in_s` is the wait until the next call; None where it is called with the next report.
    """

    target: str
    key: str | None
    breaker: State
    opens_in_s: float
    cause: str
    under_way: int
    attempts: int
    reason: str | None
    message: str | None
    next_attempt_in_s: float | None


@dataclass(frozen=True, slots=True)
class Targets:
    targets: list[TargetState]


@dataclass(frozen=True, slots=True)
class Refused:
    """The last refused reports, the newest first, each as the log has it."""

    refused: list[dict[str, Any]]


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
    """The queue by target. `failure` says why the disk takes nothing at the moment."""

    targets: list[QueueDepth]
    failure: str | None


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
