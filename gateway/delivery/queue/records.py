"""What goes into the store and comes out of it. A data point lies there as JSON, under the names of `DataPoint`."""

from dataclasses import dataclass

from gateway.core.http.json import read_json, write_json
from gateway.core.points.point import DataPoint
from gateway.core.queue_view import Destination

# What a row and its entries in the indexes take beside its texts, near enough.
ROW_BYTES = 64


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
    """A leased point, to be acked, postponed, dead-lettered or released. `attempts` counts the postponements."""

    id: int
    report_id: str
    index: int
    received_ns: int
    attempts: int
    point: DataPoint


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
