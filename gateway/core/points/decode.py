"""Decode a verified request into data points, item by item."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import isfinite
from typing import Any

from gateway.core.expression import EvaluationError
from gateway.core.expression.arguments import mapping
from gateway.core.expression.arguments import text as read_text
from gateway.core.expression.arithmetic import HIGHEST, LOWEST
from gateway.core.http.json import read_number, write_scalar
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Outcome, Reason, RejectedItem, failure
from gateway.core.points.point import DataPoint, Number
from gateway.core.points.rules import Violation
from gateway.core.record import record
from gateway.core.steps import STEP_ITEMS, Steps
from gateway.core.text import shown
from gateway.core.vendor.provider import Level, PointField, Receive, RejectRule

Names = Mapping[str, Any]
# Limits of one report. A body of 1 MiB has room for about 22,000 small data points.
MAX_ITEMS = 25_000
MAX_ATTRIBUTES = 400_000
# A report that is rejected because of a bad item lists at most this many.
MAX_BAD_ITEMS = 100


@record
class Item:
    """A data point with its source: the item's index in the report, and the item as received."""

    index: int
    item: Any
    point: DataPoint


def apply_reject_rules(rules: Sequence[RejectRule], names: Names) -> None:
    """Raise CallerError if a `reject_report` rule matches."""
    matching = _first_match(rules, names)
    if matching:
        raise CallerError.of(matching.reason, matching.message)


def decode_items(receive: Receive, names: Names, *, now_ns: int) -> Steps[tuple[list[Item], list[RejectedItem]]]:
    """Return the data points of a report and its rejected items. A step is at least STEP_ITEMS items.

    A missing time becomes `now_ns`. Raises CallerError if the list of items is missing, unreadable or too long.
    """
    items: list[Item] = []
    rejected: list[RejectedItem] = []
    attributes = step = 0
    item_names = dict(names)
    shared, forms = _shared_fields(receive, names, now_ns)
    for batch in _batches(receive.each, item_names, []):
        for index, item in enumerate(batch, len(items) + len(rejected)):
            item_names["item"] = item
            try:
                point = _point(receive, item_names, forms, shared.copy())
            except Violation as error:
                rejected.append(RejectedItem(index, error.reason, error.message, item))
                if receive.on_bad_item == "reject_report" and len(rejected) == MAX_BAD_ITEMS:
                    return items, rejected
                continue
            items.append(Item(index, item, point))
            attributes += len(point.attributes)
            if attributes > MAX_ATTRIBUTES:
                raise CallerError.of(Reason.TOO_LARGE, f"the data points have more than {MAX_ATTRIBUTES} attributes")
        step += len(batch) or 1
        if step >= STEP_ITEMS:
            step = 0
            yield False
    if not items and not rejected and not receive.allow_empty:
        raise CallerError.of(Reason.MISSING_FIELD, f"{receive.each[0].path} is empty")
    return items, rejected


def count_ignored(receive: Receive, body: Any, *decoded: Sequence[Item | RejectedItem]) -> int:
    """Count the members of the body and of its items that no mapping reads."""
    known, known_item = receive.known.get("body"), receive.known.get("item")
    count = 0
    if known is not None and isinstance(body, dict) and not known.issuperset(body):
        count = len(body.keys() - known)
    if known_item is not None:
        for items in decoded:
            for each in items:
                item = each.item
                if isinstance(item, dict) and not known_item.issuperset(item):
                    count += len(item.keys() - known_item)
    return count


def rejection_of_report(rejected: list[RejectedItem]) -> Outcome:
    """Return the outcome of a report that is rejected because of these items. It names the first and the count."""
    first = rejected[0]
    at_least = "at least " if len(rejected) == MAX_BAD_ITEMS else ""
    others = f" ({at_least}{len(rejected)} items are rejected)" if len(rejected) > 1 else ""
    outcome = failure(first.reason, f"item {first.index}: {first.message}{others}")
    return replace(outcome, rejected=tuple(rejected))


def _batches(levels: Sequence[Level], names: dict[str, Any], counts: list[int]) -> Iterator[Sequence[Any]]:
    """Yield at most STEP_ITEMS items of the innermost list at once, and none for each outer element.

    The outer elements of a batch are in `names`. `counts` has the number of elements of all lists so far.
    """
    level = levels[0]
    try:
        found = level.items(names)
    except EvaluationError as error:
        raise CallerError.of(Reason.BAD_FIELD, f"{level.path} cannot be read: {error.cause}") from error
    if found is None:
        # Only the outermost list is required; a missing inner list is an empty one.
        if not counts:
            raise CallerError.of(Reason.MISSING_FIELD, f"{level.path} is missing")
        return
    if not isinstance(found, list):
        raise CallerError.of(Reason.BAD_FIELD, f"{level.path} is not a list")
    counts[:] = [sum(counts) + len(found)]
    if counts[0] > MAX_ITEMS:
        raise CallerError.of(Reason.TOO_LARGE, f"the report has more than {MAX_ITEMS} items")
    if len(levels) == 1:
        for start in range(0, len(found), STEP_ITEMS):
            yield found[start : start + STEP_ITEMS]
        return
    for element in found:
        names[level.name] = element
        yield ()
        yield from _batches(levels[1:], names, counts)


def _shared_fields(receive: Receive, names: Names, now_ns: int) -> tuple[list[Any], Sequence[PointField]]:
    """Return the arguments of DataPoint that are the same for all items, and the fields that each item reads.

    If a shared field is invalid, each item reads all fields.
    """
    arguments: list[Any] = [None, now_ns, None, None, None, None, None]
    try:
        for form in receive.shared:
            value = form.value(names)
            if value is not None:
                arguments[form.position] = form.read(value)
    except (EvaluationError, ValueError):
        return [None, now_ns, None, None, None, None, None], receive.point
    return arguments, receive.own


def _point(receive: Receive, names: Names, forms: Sequence[PointField], arguments: list[Any]) -> DataPoint:
    """Return the data point of one item. Raises Violation."""
    matching = _first_match(receive.reject_item, names) if receive.reject_item else None
    if matching:
        raise matching
    for form in forms:
        try:
            value = form.value(names)
            if value is not None:
                arguments[form.position] = form.read(value)
        except (EvaluationError, ValueError) as error:
            cause = error.cause if isinstance(error, EvaluationError) else str(error)
            raise Violation(Reason.BAD_FIELD, f"{form.path}: {cause}") from error
    metric, time_ns, namespace, number, stats, unit, attributes = arguments
    if not metric or (number is None and not stats):
        missing = "value" if metric else "metric"
        path = next((form.path for form in receive.point if form.name == missing), missing)
        raise Violation(Reason.MISSING_FIELD, f"{path} is missing")
    return DataPoint(metric, time_ns, namespace, number, stats or None, unit, {} if attributes is None else attributes)


def read_value(value: Any) -> Number:
    """Return a finite number, which may be given as JSON text. Raises ValueError."""
    if type(value) is float and isfinite(value):
        return value
    number = read_number(value) if isinstance(value, str) else value
    if isinstance(number, int) and not isinstance(number, bool):
        if not LOWEST <= number <= HIGHEST:
            raise ValueError(f"{shown(value)} is not between -2^63 and 2^64-1")
    elif not isinstance(number, float) or not isfinite(number):
        raise ValueError(f"{shown(value)} is not a finite number")
    return number


def read_time_ns(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{shown(value)} is not a time")
    if not 0 <= value < 2**63:
        raise ValueError(f"{shown(value)} ns is not between 1970 and 2262")
    return value


def read_stats(value: Any) -> dict[str, Number]:
    if not isinstance(value, dict):
        raise ValueError(f"{shown(value)} is not a map of statistics")
    return {name: read_value(number) for name, number in value.items() if number is not None}


def read_attributes(value: Any) -> dict[str, str]:
    """Return text attributes from a map or a list of [name, value] pairs, without null values. Raises ValueError."""
    if isinstance(value, list):
        if not all(isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) for pair in value):
            raise ValueError("not a map, nor a list of names and values")
        value = dict(value)
    given = value if isinstance(value, dict) else mapping(value)
    for member in given.values():
        if type(member) is not str:
            break
    else:
        return given
    attributes = {}
    for name, member in given.items():
        text = member if isinstance(member, str) else write_scalar(member)
        if text is not None:
            attributes[name] = text
        elif member is not None:
            raise ValueError(f"{name!r} is {shown(member)}, not text")
    return attributes


FIELD_READERS: Mapping[str, Callable[[Any], Any]] = {
    "namespace": read_text,
    "metric": read_text,
    "value": read_value,
    "stats": read_stats,
    "unit": read_text,
    "time_ns": read_time_ns,
    "attributes": read_attributes,
}


def read_point(fields: Mapping[str, Any], *, now_ns: int) -> DataPoint:
    """Return a data point from its JSON fields. A missing time becomes `now_ns`. Raises ValueError."""
    unknown = sorted(fields.keys() - FIELD_READERS.keys())
    if unknown:
        raise ValueError(f"a data point has no {unknown[0]!r}; it has {', '.join(FIELD_READERS)}")
    read: dict[str, Any] = {name: FIELD_READERS[name](value) for name, value in fields.items() if value is not None}
    return DataPoint(**{"time_ns": now_ns, "metric": "", **read})


def _first_match(rules: Sequence[RejectRule], names: Names) -> Violation | None:
    for rule in rules:
        try:
            if rule.when(names):
                return Violation(rule.reason, rule.text(names) or "")
        except EvaluationError as error:
            return Violation(Reason.BAD_FIELD, f"it cannot be read: {error.cause}")
    return None
