"""From a verified request to data points, item by item."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

from gateway.core.expression import EvaluationError
from gateway.core.http.json import read_number, write_number
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Outcome, Reason, RejectedItem, failure
from gateway.core.points.point import DataPoint, Number
from gateway.core.steps import Steps
from gateway.core.vendor.provider import Level, PointField, Receive, RejectRule

Names = Mapping[str, Any]
LOWEST, HIGHEST = -(2**63), 2**64 - 1
# What one report may hold: a body of 1 MiB has room for some 22,000 small data points.
MAX_ITEMS = 25_000
MAX_ATTRIBUTES = 400_000
# Where a bad item refuses the whole report, no more are looked for than these.
MAX_BAD_ITEMS = 100


@dataclass(frozen=True, slots=True)
class Item:
    """A data point, and where the reporter had it: its index among the report's items, and the item as it came."""

    index: int
    item: Any
    point: DataPoint


class BadItem(Exception):
    """An item cannot become a data point."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def apply_reject_rules(refusals: tuple[RejectRule, ...], names: Names) -> None:
    """Raise CallerError when one of the provider's `reject_report` rules holds."""
    broken = _first_that_holds(refusals, names)
    if broken:
        raise CallerError.of(broken.reason, broken.message)


def decode_items(receive: Receive, names: Names, *, now_ns: int) -> Steps[tuple[list[Item], list[RejectedItem]]]:
    """Return the data points of a report, and the items that could not become one; a step for each item.

    A missing time becomes `now_ns`. Raises CallerError when the report as a whole has no readable list of items, or
    more than MAX_ITEMS or MAX_ATTRIBUTES.
    """
    items: list[Item] = []
    rejected: list[RejectedItem] = []
    attributes = 0
    index = -1
    for item_names in _each(receive.each, names, _Room(MAX_ITEMS)):
        yield False
        if item_names is None:
            continue
        index += 1
        item = item_names["item"]
        try:
            items.append(Item(index, item, _point(receive, item_names, now_ns)))
        except BadItem as error:
            rejected.append(RejectedItem(index, error.reason, error.message, item))
            if receive.on_bad_item == "reject_report" and len(rejected) == MAX_BAD_ITEMS:
                break
            continue
        attributes += len(items[-1].point.attributes)
        if attributes > MAX_ATTRIBUTES:
            raise CallerError.of(Reason.TOO_LARGE, f"the data points have more than {MAX_ATTRIBUTES} attributes")
    if not items and not rejected and not receive.allow_empty:
        words = _in_caller_words(receive.each[0].source) or "the list of items"
        raise CallerError.of(Reason.MISSING_FIELD, f"{words} is empty")
    return items, rejected


def count_ignored(receive: Receive, body: Any, items: Iterable[Any]) -> int:
    """Return how many members of the body and of its items nobody reads: they are let pass, and do not go on."""
    known = receive.known
    count = len(body.keys() - known["body"]) if isinstance(body, dict) and "body" in known else 0
    if "item" in known:
        count += sum(len(item.keys() - known["item"]) for item in items if isinstance(item, dict))
    return count


def rejection_of_report(rejected: list[RejectedItem]) -> Outcome:
    """Return the outcome of a report that is refused because of some of its items: the first, and how many."""
    first = rejected[0]
    least = "at least " if len(rejected) == MAX_BAD_ITEMS else ""
    others = f" ({least}{len(rejected)} items are refused)" if len(rejected) > 1 else ""
    outcome = failure(first.reason, f"item {first.index}: {first.message}{others}")
    return replace(outcome, rejected=tuple(rejected))


@dataclass(slots=True)
class _Room:
    """How many more items a report may have."""

    items: int

    def take(self, number: int) -> None:
        self.items -= number
        if self.items < 0:
            raise CallerError.of(Reason.TOO_LARGE, f"the report has more than {MAX_ITEMS} items")


def _each(
    levels: Sequence[Level], names: Names, room: _Room, *, outermost: bool = True
) -> Iterator[dict[str, Any] | None]:
    """Yield what the expressions of each item see; None stands for the work for an element of an outer level."""
    level, *deeper = levels
    words = _in_caller_words(level.source) or "the list of items"
    try:
        found = level.items(names)
    except EvaluationError as error:
        raise CallerError.of(Reason.BAD_FIELD, f"{words} cannot be read: {error.cause}") from error
    if found is None:
        # Only the outermost list must be there; further in, no list is an empty one.
        if outermost:
            raise CallerError.of(Reason.MISSING_FIELD, f"{words} is missing")
        return
    if not isinstance(found, list):
        raise CallerError.of(Reason.BAD_FIELD, f"{words} is not a list")
    room.take(len(found))
    for element in found:
        element_names = {**names, level.name: element}
        if deeper:
            yield None
            yield from _each(deeper, element_names, room, outermost=False)
        else:
            yield element_names


def _point(receive: Receive, names: Names, now_ns: int) -> DataPoint:
    broken = _first_that_holds(receive.reject_item, names)
    if broken:
        raise broken
    fields = {form.name: _field(form, names) for form in receive.point}
    metric, value, stats = fields.get("metric"), fields.get("value"), fields.get("stats")
    sources = {form.name: _in_caller_words(form.source) or form.name for form in receive.point}
    if metric is None or metric == "":
        raise BadItem(Reason.MISSING_FIELD, f"{sources.get('metric', 'metric')} is missing")
    if value is None and not stats:
        raise BadItem(Reason.MISSING_FIELD, f"{sources.get('value', 'value')} is missing")
    return DataPoint(
        metric=metric,
        time_ns=now_ns if fields.get("time_ns") is None else fields["time_ns"],
        namespace=fields.get("namespace"),
        value=value,
        stats=stats or None,
        unit=fields.get("unit"),
        attributes=fields.get("attributes") or {},
    )


def _field(form: PointField, names: Names) -> Any:
    try:
        value = form.value(names)
        return None if value is None else FIELD_READERS[form.name](value)
    except (EvaluationError, ValueError) as error:
        cause = error.cause if isinstance(error, EvaluationError) else str(error)
        raise BadItem(Reason.BAD_FIELD, f"{_in_caller_words(form.source) or form.name}: {cause}") from error


def read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{_shown(value)} is not text")
    return value


def read_value(value: Any) -> Number:
    """Return a finite number; text is read by JSON's number grammar. Raises ValueError."""
    number = read_number(value) if isinstance(value, str) else value
    if isinstance(number, int) and not isinstance(number, bool):
        if not LOWEST <= number <= HIGHEST:
            raise ValueError(f"{_shown(value)} is not between -2^63 and 2^64-1")
    elif not isinstance(number, float) or not isfinite(number):
        raise ValueError(f"{_shown(value)} is not a finite number")
    return number


def read_time_ns(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{_shown(value)} is not a time")
    if not 0 <= value < 2**63:
        raise ValueError(f"{_shown(value)} ns is not between 1970 and 2262")
    return value


def read_stats(value: Any) -> dict[str, Number]:
    if not isinstance(value, dict):
        raise ValueError(f"{_shown(value)} is not a map of statistics")
    return {name: read_value(number) for name, number in value.items() if number is not None}


def read_attributes(value: Any) -> dict[str, str]:
    """Return text to text, from a map or a list of [name, value] pairs; null values are left out."""
    if isinstance(value, list):
        if not all(isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) for pair in value):
            raise ValueError("not a map, nor a list of names and values")
        value = dict(value)
    if not isinstance(value, dict):
        raise ValueError(f"{_shown(value)} is not a map")
    return {name: _scalar_text(name, member) for name, member in value.items() if member is not None}


FIELD_READERS = {
    "namespace": read_text,
    "metric": read_text,
    "value": read_value,
    "stats": read_stats,
    "unit": read_text,
    "time_ns": read_time_ns,
    "attributes": read_attributes,
}


def read_point(fields: Mapping[str, Any], *, now_ns: int) -> DataPoint:
    """Return a data point from its own fields as JSON has them; a missing time becomes `now_ns`. Raises ValueError."""
    unknown = sorted(fields.keys() - FIELD_READERS.keys())
    if unknown:
        raise ValueError(f"a data point has no {unknown[0]!r}; it has {', '.join(FIELD_READERS)}")
    read: dict[str, Any] = {name: FIELD_READERS[name](value) for name, value in fields.items() if value is not None}
    return DataPoint(**{"time_ns": now_ns, "metric": "", **read})


def _scalar_text(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return write_number(value)
    raise ValueError(f"{name!r} is {_shown(value)}, not text")


def _first_that_holds(refusals: tuple[RejectRule, ...], names: Names) -> BadItem | None:
    for refusal in refusals:
        try:
            if refusal.when(names):
                return BadItem(refusal.reason, refusal.text(names) or "")
        except EvaluationError as error:
            return BadItem(Reason.BAD_FIELD, f"it cannot be read: {error.cause}")
    return None


def _in_caller_words(source: str) -> str:
    """Turn `body.params.data` into `params.data`: the names that the reporter knows."""
    head, dot, rest = source.partition(".")
    plain = dot and head in ("body", "item") and all(part.isidentifier() for part in rest.split("."))
    return rest if plain else source if source.isidentifier() else ""


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return "a list" if isinstance(value, list) else "a map"
    text = repr(value) if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else text[:40] + "…"
