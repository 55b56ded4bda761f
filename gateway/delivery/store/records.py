"""What goes into the store and comes out of it. A data point lies there as JSON, under the names of `DataPoint`."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from gateway.core.json import read_json, write_json
from gateway.core.model import DataPoint

# What a row and its entries in the indexes take beside its texts, near enough.
ROW_BYTES = 64


class State(StrEnum):
    """Where a point stands. A lease is a fact of the running process; on disk a leased point is a queued one."""

    QUEUED = "queued"
    LEASED = "leased"
    PARKED = "parked"


class Destination(NamedTuple):
    """Where a point goes: a route, and which of its targets (`send`, or the name of a mirror)."""

    route: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the store takes. Past a limit new points are refused; those that are there stay.

    `share` is how much of `max_points` and `max_bytes` one destination may fill: an upstream that is down leaves room
    for the others. `max_age_s` refuses points to a destination whose oldest queued point is older. `max_waiting` bounds
    the appends that wait for the disk.
    """

    max_points: int = 1_000_000
    max_bytes: int = 1_073_741_824
    share: float = 0.5
    max_age_s: float | None = None
    max_waiting: int = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPoint:
    """A data point to keep. `index` counts the reporter's items from 0."""

    destination: Destination
    report_id: str
    index: int
    received_ns: int
    point: DataPoint


@dataclass(frozen=True, slots=True)
class Row:
    """A new point as it goes to disk: `text` is its JSON, `size` what it counts for."""

    destination: Destination
    report_id: str
    index: int
    received_ns: int
    text: str
    size: int


@dataclass(frozen=True, slots=True)
class LeasedPoint:
    """A point that its holder must ack, postpone, park or release. `attempts` counts how often it was postponed."""

    id: int
    report_id: str
    index: int
    received_ns: int
    attempts: int
    point: DataPoint


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """A point as people look at it; `text` is its JSON. It may be one that cannot be read, and is parked for that.

    `not_before_ns` is 0 where the point was never postponed, `reason` and `message` say why it is parked.
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
class Depth:
    """How much waits for one destination; `queued` does not count the leased.

    `oldest_ns` is the receive time of the oldest point that is queued or leased.
    """

    queued: int = 0
    leased: int = 0
    parked: int = 0
    bytes: int = 0
    oldest_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Stats:
    """The store at a glance. `failure` says why the disk takes nothing at the moment; `commits` counts transactions."""

    depths: Mapping[Destination, Depth]
    commits: int
    failure: str | None


def row_of(new: NewPoint) -> Row:
    """Return a new point as it goes to disk. Raises ValueError for what JSON cannot hold."""
    text = write_point(new.point)
    size = len(text.encode()) + len(new.report_id) + ROW_BYTES
    return Row(new.destination, new.report_id, new.index, new.received_ns, text, size)


def write_point(point: DataPoint) -> str:
    """Return a point as JSON, without the members that it has not. Raises ValueError for what JSON cannot hold."""
    members = {name: value for name, value in point.as_mapping().items() if value is not None}
    members["attributes"] = dict(point.attributes)
    if point.stats is not None:
        members["stats"] = dict(point.stats)
    return write_json(members).decode()


def read_point(text: str) -> DataPoint:
    """Return the point that `write_point` wrote. Raises ValueError for anything else."""
    members = read_json(text)
    try:
        return DataPoint(**members)
    except TypeError as error:
        raise ValueError("it is not a data point") from error
