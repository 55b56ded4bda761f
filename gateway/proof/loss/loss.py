"""What is lost between two providers: what the reporters of one can state, against what of it the other holds."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway.core.outcome.outcome import Reason
from gateway.core.points.changes import change_point
from gateway.core.points.point import STATISTICS, DataPoint, Number
from gateway.core.points.rules import Dropped, Rule, Violation, apply_rules
from gateway.core.vendor.provider import Provider
from gateway.core.vendor.route import PointChanges, Route, Target
from gateway.proof.loss.capabilities import (
    FRACTIONS,
    LARGE,
    Value,
    arrived_or_none,
    fields_of,
    held_stats,
    held_units,
    held_value,
    resolution,
)
from gateway.proof.loss.probe import NAME, PROBE, UNITS, fitted, own_targets, round_trip

UNCHANGED = PointChanges()
# A point that loses one of these is taken for one of another series.
IDENTITY = ("namespace", "metric", "attributes")
_WORDS = {"us": "microseconds", "ms": "milliseconds", "s": "seconds", "minute": "minutes"}


@dataclass(frozen=True, slots=True)
class Lost:
    """A field of which not all arrives. `what` says what becomes of it; `whole`: nothing of it is left."""

    field: str
    what: str
    whole: bool


@dataclass(frozen=True, slots=True)
class Loss:
    """What is lost, and the fields that the target requires and no report will ever have."""

    lost: tuple[Lost, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stated:
    """What reporters can say: a data point that has all of it, and what else its unit, value and stats might be.

    A field that they cannot state is empty; without `has_time` each time is that of receipt.
    """

    point: DataPoint
    has_time: bool
    units: tuple[str, ...]
    value: Value
    stats: frozenset[str]


def stated_by(provider: Provider, rules: tuple[Rule, ...] | None = None, names: Collection[str] = ()) -> Stated:
    """Return what the provider's reporters can state; `names` are attributes that are of interest besides its own.

    The provider's own `send` tells in which words. Where it has none that its `receive` can read, all that `receive`
    reads is taken as stated.
    """
    fields = fields_of(provider)
    rules = tuple(provider.rules.values()) if rules is None else rules
    known = {name: name for name in sorted({*names, *provider.attribute_names})}
    point = fitted(rules, replace(PROBE, attributes={**PROBE.attributes, **known}))
    for target in own_targets(provider, rules):
        arrived = arrived_or_none(target, point)
        if arrived is not None:
            return _stated(target, point, arrived)
    if provider.attribute_names:
        point = replace(point, attributes={name: name for name in sorted(provider.attribute_names)})
    stats = frozenset(STATISTICS) if "stats" in fields else frozenset[str]()
    return Stated(_readable(fields, point), "time_ns" in fields, UNITS if "unit" in fields else (), "any", stats)


def _stated(target: Target, point: DataPoint, arrived: DataPoint) -> Stated:
    """Return what is stated in the provider's own words; what it reads and does not send itself, in ours."""
    fields = fields_of(target.provider)
    own = {name: value for name, value in arrived.as_mapping().items() if value not in (None, {})}
    units = [unit for unit in held_units(target, point).values() if unit]
    return Stated(
        point=replace(_readable(fields, point), **own),
        has_time="time_ns" in fields,
        units=tuple(dict.fromkeys(units)) or (UNITS if "unit" in fields else ()),
        value=held_value(target, point),
        stats=held_stats(target),
    )


def _readable(fields: Collection[str], point: DataPoint) -> DataPoint:
    empty: dict[str, Any] = {"namespace": None, "unit": None, "attributes": {}}
    return replace(point, **{name: value for name, value in empty.items() if name not in fields})


def find_loss(stated: Stated, target: Target, changes: PointChanges = UNCHANGED) -> Loss:
    """Compare what is stated, after the route's own changes, with what arrives.

    Raises NotHeld where the target's provider cannot read what it sends.
    """
    changed, unknown = _changed(changes, stated.point)
    expected = fitted(target.rules, changed)
    arrived = round_trip(target, expected)
    found = [*_lost_texts(expected, arrived), *_lost_attributes(expected, arrived)]
    if stated.has_time or "time_ns" in dict(changes.set):
        found += _lost_time(expected, arrived)
    for find in (_lost_values, _lost_units):
        found += find(stated, target, changes)
    if changes.stats is None:
        found += _split_stats(stated.stats, target)
    lost = tuple(each for each in found if each.field not in unknown)
    return Loss(lost, tuple(name for name in _missing(target.rules, changed) if name not in unknown))


def route_loss(route: Route, names: Collection[str] = ()) -> Loss:
    """Return what is lost on a route; `names` are the attributes that its own changes read. Raises NotHeld."""
    source, target = route.source, route.target
    stated = stated_by(source.provider, source.rules, {*names, *target.provider.attribute_names})
    return find_loss(stated, target, route.points)


def _changed(changes: PointChanges, point: DataPoint) -> tuple[DataPoint, frozenset[str]]:
    """Return the point after each `set`, and the fields whose `set` makes nothing of a probe."""
    made, unknown = {}, set()
    for name, expression in changes.set:
        try:
            changed = change_point(PointChanges(set=((name, expression),)), point)
            made[name] = getattr(changed, name)
        except Violation:
            unknown.add(name)
    return replace(point, **made), frozenset(unknown)


def _missing(rules: Sequence[Rule], point: DataPoint) -> Iterator[str]:
    for rule in rules:
        try:
            apply_rules((rule,), point, now_ns=point.time_ns)
        except Violation as error:
            if error.reason is Reason.MISSING_FIELD:
                yield rule.field
        except Dropped:
            continue


def _lost_texts(expected: DataPoint, arrived: DataPoint) -> Iterator[Lost]:
    for name in ("namespace", "metric"):
        stated, got = getattr(expected, name), getattr(arrived, name)
        if stated and got != stated:
            yield Lost(name, f"it arrives as {got!r}" if got else "it does not arrive", True)


def _lost_attributes(expected: DataPoint, arrived: DataPoint) -> Iterator[Lost]:
    kept = [name for name, text in expected.attributes.items() if arrived.attributes.get(name) == text]
    gone = [name for name in expected.attributes if name not in kept]
    if not gone:
        return
    if not kept:
        yield Lost("attributes", "none arrives", True)
    elif NAME in gone:
        yield Lost("attributes", f"nothing but {', '.join(kept)} arrives", False)
    else:
        yield Lost("attributes", f"all arrive but {', '.join(gone)}", False)


def _lost_time(expected: DataPoint, arrived: DataPoint) -> Iterator[Lost]:
    finest = resolution(expected.time_ns, arrived.time_ns)
    if finest == "none":
        yield Lost("time_ns", "it does not arrive, and the time of receipt takes its place", True)
    elif finest != "ns":
        yield Lost("time_ns", f"only whole {_WORDS[finest]} arrive", False)


def _lost_values(stated: Stated, target: Target, changes: PointChanges) -> Iterator[Lost]:
    def arrives(value: Number) -> bool | None:
        expected = _sent(replace(stated.point, value=value), target, changes, but="value")
        arrived = arrived_or_none(target, expected)
        return None if arrived is None else arrived.value == expected.value

    if stated.point.value is not None and not arrives(stated.point.value):
        yield Lost("value", "it does not arrive", True)
    elif stated.value != "integers" and not any(arrives(fraction) for fraction in FRACTIONS):
        yield Lost("value", "only integers arrive", False)
    elif stated.value != "doubles" and arrives(LARGE) is False:  # what is refused is not lost unseen
        yield Lost("value", "integers past 2^53 lose digits", False)


def _lost_units(stated: Stated, target: Target, changes: PointChanges) -> Iterator[Lost]:
    gone: dict[str, str | None] = {}
    for unit in stated.units or (None,):
        expected = _sent(replace(stated.point, unit=unit), target, changes, but="unit")
        arrived = arrived_or_none(target, expected)
        if expected.unit and (arrived is None or arrived.unit != expected.unit):
            gone[expected.unit] = arrived.unit if arrived else None
    renamed = [f"{unit!r} arrives as {new!r}" for unit, new in gone.items() if new]
    if gone:
        yield Lost("unit", renamed[0] if renamed else "it does not arrive", not renamed)


def _split_stats(stats: frozenset[str], target: Target) -> Iterator[Lost]:
    split = stats - held_stats(target) if stats else stats
    if split:
        yield Lost("stats", f"{', '.join(sorted(split))} become data points of their own", split == stats)


def _sent(point: DataPoint, target: Target, changes: PointChanges, *, but: str) -> DataPoint:
    return fitted(target.rules, _changed(changes, point)[0], but=but)
