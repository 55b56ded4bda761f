"""The data that the calls of a provider can carry, found by probing."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from gateway.core.points.point import STATISTICS, DataPoint, Number
from gateway.core.vendor.provider import Provider
from gateway.core.vendor.route import Target
from gateway.proof.probe import NAME, PROBE, UNITS, arrived_or_none, fitted, round_trip

Resolution = Literal["ns", "us", "ms", "s", "minute", "none"]
Numbers = Literal["any", "integers", "doubles", "none"]
NumberKind = Literal["integer", "fraction", "large"]
Names = frozenset[str] | Literal["any"]

FRACTIONS = (0.25, 1.25, 1000.25)
LARGE = 2**53 + 1  # the first integer that a double cannot represent

_NS: Mapping[Resolution, int] = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "minute": 60 * 10**9}
_STATS: Mapping[str, Number] = {"count": 4, "sum": 12, "min": 1, "max": 6, "avg": 3, "last": 5}


# Returns the point that should arrive for one that is stated, after a route's changes and the target's rules.
Expect = Callable[[DataPoint], DataPoint]


def unchanged(point: DataPoint) -> DataPoint:
    return point


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The parts of a data point that arrive.

    `value` is `doubles` if large integers lose digits. `unit` and `attributes` are those that arrive unchanged. With
    `mapped`, units arrive in the provider's own words. `time_ns` is the resolution.
    """

    namespace: bool
    metric: bool
    value: Numbers
    stats: frozenset[str]
    unit: Names | Literal["mapped"]
    time_ns: Resolution
    attributes: Names


def probe_capabilities(target: Target) -> Capabilities:
    """Probe a target. Raises ProbeFailed if not even a plain data point arrives."""
    point = plain_point(target)
    arrived = round_trip(target, point)
    numbers = arriving_numbers(target, point)
    value: Numbers = "any" if numbers >= {"fraction", "large"} else "doubles" if "fraction" in numbers else "integers"
    kept = [name for name, text in point.attributes.items() if arrived.attributes.get(name) == text]
    units = arriving_units(target, point, UNITS if "unit" in fields_read(target.provider) else ())
    same = frozenset(unit for unit, found in units.items() if unit == found)
    mapped = not same and len({found for found in units.values() if found}) > 1
    return Capabilities(
        namespace=arrived.namespace == point.namespace,
        metric=arrived.metric == point.metric,
        value=value if "integer" in numbers else "none",
        stats=arriving_stats(target),
        unit="any" if UNITS[-1] in same else "mapped" if mapped else same,
        time_ns=resolution(point.time_ns, arrived.time_ns),
        attributes="any" if NAME in kept else frozenset(kept),
    )


def plain_point(target: Target) -> DataPoint:
    """Return a probe that the target's rules accept, with all attributes that its provider names."""
    return fitted(target.rules, with_attributes(target.provider.attribute_names))


def with_attributes(names: Iterable[str]) -> DataPoint:
    return replace(PROBE, attributes={**PROBE.attributes, **{name: name for name in sorted(names)}})


def fields_read(provider: Provider) -> frozenset[str]:
    """Return the fields of a data point that the provider's `receive` reads."""
    return frozenset(field.name for field in provider.receive.point) if provider.receive else frozenset()


def arriving_numbers(target: Target, point: DataPoint, expect: Expect = unchanged) -> frozenset[NumberKind]:
    """Return the kinds of numbers that arrive. A rejected large integer counts as one: it is not lost silently."""

    def arrives(number: Number) -> bool | None:
        expected = expect(replace(point, value=number))
        arrived = arrived_or_none(target, expected)
        return None if arrived is None else arrived.value == expected.value

    found: dict[NumberKind, bool] = {
        "integer": arrives(point.value if point.value is not None else 1) is True,
        "fraction": any(arrives(number) for number in FRACTIONS),
        "large": arrives(LARGE) is not False,
    }
    return frozenset(kind for kind, arriving in found.items() if arriving)


def arriving_units(
    target: Target, point: DataPoint, units: Iterable[str | None], expect: Expect = unchanged
) -> dict[str, str | None]:
    """Return what each unit arrives as, None if it does not arrive."""
    found: dict[str, str | None] = {}
    for unit in units:
        expected = expect(replace(point, unit=unit))
        arrived = arrived_or_none(target, expected)
        if expected.unit:
            found[expected.unit] = arrived.unit if arrived else None
    return found


def arriving_stats(target: Target) -> frozenset[str]:
    """Return the statistics that arrive, sent together or, if that is rejected, in the groups that a rule allows."""
    if "stats" not in fields_read(target.provider):
        return frozenset()
    point = replace(plain_point(target), value=None)
    allowed = [rule.keys for rule in target.rules if rule.field == "stats" and isinstance(rule.keys, frozenset)]
    for names in (frozenset(STATISTICS), *allowed):
        stats = {name: _STATS[name] for name in STATISTICS if name in names}
        arrived = arrived_or_none(target, replace(point, stats=stats))
        found = {name for name, number in stats.items() if arrived and (arrived.stats or {}).get(name) == number}
        if found:
            return frozenset(found)
    return frozenset()


def resolution(sent_ns: int, arrived_ns: int) -> Resolution:
    """Return the finest resolution that explains the arrived time; `none` if it is another time."""
    for name, size in _NS.items():
        if abs(arrived_ns - sent_ns) < size and arrived_ns % size == 0:
            return name
    return "none"
