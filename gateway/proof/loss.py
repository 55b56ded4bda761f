"""Computes what is lost between two providers: the data that reporters of one can express but the other cannot carry.

The source's own `send` shows what its reporters can express. Each such value is sent through the route's changes and
the target's rules on a round trip (`probe.py`), and compared with what arrives.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from gateway.core.outcome.outcome import Reason
from gateway.core.points.changes import change_point
from gateway.core.points.point import STATISTICS, DataPoint
from gateway.core.points.rules import Dropped, Rule, Violation, apply_rules
from gateway.core.vendor.provider import Provider
from gateway.core.vendor.route import PointChanges, Route, Target
from gateway.proof.capabilities import (
    NumberKind,
    arriving_numbers,
    arriving_stats,
    arriving_units,
    fields_read,
    resolution,
    with_attributes,
)
from gateway.proof.probe import NAME, UNITS, arrived_or_none, fitted, own_targets, round_trip

UNCHANGED = PointChanges()
# Points that differ only in these would become one series.
IDENTITY = ("namespace", "metric", "attributes")
_UNITS_OF_TIME = {"us": "microseconds", "ms": "milliseconds", "s": "seconds", "minute": "minutes"}
_ALL_NUMBERS = frozenset[NumberKind](("integer", "fraction", "large"))


@dataclass(frozen=True, slots=True)
class FieldLoss:
    """A field that does not arrive completely. `whole`: nothing of it arrives."""

    field: str
    what: str
    whole: bool


@dataclass(frozen=True, slots=True)
class Loss:
    """The fields that are lost, and those that the target requires but no report has."""

    lost: tuple[FieldLoss, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Expressible:
    """The data that reporters can express: a point with all fields, and the alternatives for some of them.

    A field that they cannot express is empty. Without `has_time`, the time is always that of receipt.
    """

    point: DataPoint
    has_time: bool
    units: tuple[str, ...]
    numbers: frozenset[NumberKind]
    stats: frozenset[str]


def expressible_by(
    provider: Provider, rules: tuple[Rule, ...] | None = None, names: Collection[str] = ()
) -> Expressible:
    """Return what the provider's reporters can express; `names` are further attributes to probe.

    Values are in the words of the provider's own `send`. If its `receive` cannot read one, everything that `receive`
    reads counts as expressible.
    """
    fields = fields_read(provider)
    rules = tuple(provider.rules.values()) if rules is None else rules
    point = fitted(rules, with_attributes({*names, *provider.attribute_names}))
    units = UNITS if "unit" in fields else ()
    for target in own_targets(provider, rules):
        arrived = arrived_or_none(target, point)
        if arrived is not None:
            own = {name: value for name, value in arrived.as_mapping().items() if value not in (None, {})}
            return Expressible(
                point=replace(_readable(fields, point), **own),
                has_time="time_ns" in fields,
                units=tuple(dict.fromkeys(filter(None, arriving_units(target, point, units).values()))) or units,
                numbers=arriving_numbers(target, point),
                stats=arriving_stats(target),
            )
    if provider.attribute_names:
        point = replace(point, attributes={name: name for name in sorted(provider.attribute_names)})
    stats = frozenset(STATISTICS) if "stats" in fields else frozenset[str]()
    return Expressible(_readable(fields, point), "time_ns" in fields, units, _ALL_NUMBERS, stats)


def _readable(fields: Collection[str], point: DataPoint) -> DataPoint:
    empty: dict[str, Any] = {"namespace": None, "unit": None, "attributes": {}}
    return replace(point, **{name: value for name, value in empty.items() if name not in fields})


def route_loss(route: Route, names: Collection[str] = ()) -> Loss:
    """Return what is lost on a route; `names` are the attributes that its changes read. Raises ProbeFailed."""
    source, target = route.source, route.target
    said = expressible_by(source.provider, source.rules, {*names, *target.provider.attribute_names})
    return find_loss(said, target, route.points)


def find_loss(said: Expressible, target: Target, changes: PointChanges = UNCHANGED) -> Loss:
    """Compare what is expressible, after the route's changes, with what arrives.

    Raises ProbeFailed if the target's provider cannot read what it sends.
    """
    changed, unknown = _changed(changes, said.point)
    expected = fitted(target.rules, changed)
    arrived = round_trip(target, expected)
    found = [*_lost_names(expected, arrived), *_lost_attributes(expected, arrived)]
    if said.has_time or "time_ns" in dict(changes.set):
        found += _lost_time(expected, arrived)
    found += [*_lost_numbers(said, target, changes), *_lost_units(said, target, changes)]
    split = said.stats - arriving_stats(target) if said.stats and changes.stats is None else frozenset()
    if split:
        what = f"{', '.join(sorted(split))} become separate data points"
        found.append(FieldLoss("stats", what, split == said.stats))
    lost = tuple(loss for loss in found if loss.field not in unknown)
    return Loss(lost, tuple(name for name in _missing(target.rules, changed) if name not in unknown))


def _changed(changes: PointChanges, point: DataPoint) -> tuple[DataPoint, frozenset[str]]:
    """Return the point after each `set`, and the fields whose `set` fails for a probe."""
    made, unknown = {}, set()
    for name, expression in changes.set:
        try:
            made[name] = getattr(change_point(PointChanges(set=((name, expression),)), point), name)
        except Violation:
            unknown.add(name)
    return replace(point, **made), frozenset(unknown)


def _expected(point: DataPoint, target: Target, changes: PointChanges, *, but: str) -> DataPoint:
    return fitted(target.rules, _changed(changes, point)[0], but=but)


def _missing(rules: Iterable[Rule], point: DataPoint) -> Iterator[str]:
    for rule in rules:
        try:
            apply_rules((rule,), point, now_ns=point.time_ns)
        except Violation as error:
            if error.reason is Reason.MISSING_FIELD:
                yield rule.field
        except Dropped:
            continue


def _lost_names(expected: DataPoint, arrived: DataPoint) -> Iterator[FieldLoss]:
    for name in ("namespace", "metric"):
        sent, got = getattr(expected, name), getattr(arrived, name)
        if sent and got != sent:
            yield FieldLoss(name, f"it arrives as {got!r}" if got else "it does not arrive", True)


def _lost_attributes(expected: DataPoint, arrived: DataPoint) -> Iterator[FieldLoss]:
    kept = [name for name, text in expected.attributes.items() if arrived.attributes.get(name) == text]
    lost = [name for name in expected.attributes if name not in kept]
    if not lost:
        return
    if not kept:
        yield FieldLoss("attributes", "no attribute arrives", True)
    elif NAME in lost:
        yield FieldLoss("attributes", f"only {', '.join(kept)} arrive{'' if kept[1:] else 's'}", False)
    else:
        yield FieldLoss("attributes", f"all arrive except {', '.join(lost)}", False)


def _lost_time(expected: DataPoint, arrived: DataPoint) -> Iterator[FieldLoss]:
    finest = resolution(expected.time_ns, arrived.time_ns)
    if finest == "none":
        yield FieldLoss("time_ns", "it does not arrive and is replaced by the time of receipt", True)
    elif finest != "ns":
        yield FieldLoss("time_ns", f"only whole {_UNITS_OF_TIME[finest]} arrive", False)


def _lost_numbers(said: Expressible, target: Target, changes: PointChanges) -> Iterator[FieldLoss]:
    numbers = arriving_numbers(target, said.point, lambda point: _expected(point, target, changes, but="value"))
    lost = said.numbers - numbers
    if "integer" in lost:
        yield FieldLoss("value", "it does not arrive", True)
    elif "fraction" in lost:
        yield FieldLoss("value", "only integers arrive", False)
    elif "large" in lost:
        yield FieldLoss("value", "integers above 2^53 lose digits", False)


def _lost_units(said: Expressible, target: Target, changes: PointChanges) -> Iterator[FieldLoss]:
    units = arriving_units(
        target, said.point, said.units or (None,), lambda point: _expected(point, target, changes, but="unit")
    )
    lost = {unit: found for unit, found in units.items() if unit != found}
    renamed = [f"{unit!r} arrives as {found!r}" for unit, found in lost.items() if found]
    if lost:
        yield FieldLoss("unit", renamed[0] if renamed else "it does not arrive", not renamed)
