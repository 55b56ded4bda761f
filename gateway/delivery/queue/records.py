"""Data points on their way to and from the disk. A stored point is JSON with the field names of `DataPoint`."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from gateway.core.http.json import read_json, write_json
from gateway.core.points.point import DataPoint
from gateway.core.queue_view import Destination
from gateway.core.vendor.route import Target

# Approximate size of a row and its index entries without its texts.
ROW_BYTES = 64


class GroupOf(NamedTuple):
    """The group of a point for the calls of a target, see `Group`."""

    target: Target
    key: bytes
    shared: Mapping[str, Any]


class NewPoint(NamedTuple):
    """A data point to store. `item` is its index in the report, and `form` its item in a call of its group."""

    destination: Destination
    report_id: str
    item: int
    received_ns: int
    point: DataPoint
    group: GroupOf | None = None
    form: Any = None


class LeasedPoint(NamedTuple):
    """A leased point. `attempts` counts the failed ones. `group` and `form` are None after a read from disk."""

    id: int
    report_id: str
    item: int
    received_ns: int
    attempts: int
    point: DataPoint
    group: GroupOf | None = None
    form: Any = None


def write_point(point: DataPoint) -> str:
    """Return a point as JSON without empty members. Raises ValueError for text that is not Unicode."""
    members: dict[str, Any] = {} if point.namespace is None else {"namespace": point.namespace}
    members["metric"] = point.metric
    if point.value is not None:
        members["value"] = point.value
    if point.stats is not None:
        members["stats"] = dict(point.stats)
    if point.unit is not None:
        members["unit"] = point.unit
    members |= {"time_ns": point.time_ns, "attributes": dict(point.attributes)}
    return write_json(members).decode()


def read_point(text: str) -> DataPoint:
    """Return the point that `write_point` wrote. Raises ValueError for other text."""
    members = read_json(text)
    try:
        return DataPoint(**members)
    except TypeError as error:
        raise ValueError("this is not a data point") from error
