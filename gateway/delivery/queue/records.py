"""Data points on their way to and from the disk. A stored point is JSON with the field names of `DataPoint`."""

from dataclasses import dataclass

from gateway.core.http.json import read_json, write_json
from gateway.core.points.point import DataPoint
from gateway.core.queue_view import Destination

# Approximate size of a row and its index entries without its texts.
ROW_BYTES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPoint:
    """A data point to store. `index` is its place in the report, from 0."""

    destination: Destination
    report_id: str
    index: int
    received_ns: int
    point: DataPoint


@dataclass(frozen=True, slots=True)
class Row:
    """A new point as it is written. `text` is its JSON; `size` counts towards the limits."""

    destination: Destination
    report_id: str
    index: int
    received_ns: int
    text: str
    size: int


@dataclass(frozen=True, slots=True)
class LeasedPoint:
    """A leased point. `attempts` counts the failed ones."""

    id: int
    report_id: str
    index: int
    received_ns: int
    attempts: int
    point: DataPoint


def row_of(new: NewPoint) -> Row:
    """Return a new point as it is written. Raises ValueError for text that is not Unicode."""
    text = write_point(new.point)
    size = len(text.encode()) + len(new.report_id) + ROW_BYTES
    return Row(new.destination, new.report_id, new.index, new.received_ns, text, size)


def write_point(point: DataPoint) -> str:
    """Return a point as JSON without empty members. Raises ValueError for text that is not Unicode."""
    members = {name: value for name, value in point.as_mapping().items() if value is not None}
    members["attributes"] = dict(point.attributes)
    if point.stats is not None:
        members["stats"] = dict(point.stats)
    return write_json(members).decode()


def read_point(text: str) -> DataPoint:
    """Return the point that `write_point` wrote. Raises ValueError for other text."""
    members = read_json(text)
    try:
        return DataPoint(**members)
    except TypeError as error:
        raise ValueError("this is not a data point") from error
