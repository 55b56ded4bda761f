"""What the calls of a provider can hold of a data point, found out by sending probes round."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from gateway.core.points.point import STATISTICS, DataPoint, Number
from gateway.core.vendor.provider import Provider
from gateway.core.vendor.route import Target
from gateway.proof.loss.probe import NAME, PROBE, UNITS, NotHeld, fitted, round_trip

Resolution = Literal["ns", "us", "ms", "s", "minute", "none"]
Value = Literal["any", "integers", "doubles", "none"]
Some = frozenset[str] | Literal["any"]

FRACTIONS = (0.25, 1.25, 1000.25)
LARGE = 2**53 + 1  # the first integer that a double cannot hold

_NS: Mapping[Resolution, int] = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "minute": 60 * 10**9}
_ALL_STATS: Mapping[str, Number] = {"count": 4, "sum": 12, "min": 1, "max": 6, "avg": 3, "last": 5}


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What arrives of a full data point.

    `value` is `doubles` where large integers lose digits. `unit` and `attributes` are the ones that arrive as stated,
    or `any`; `mapped` units arrive in words of the provider's own. `stats` are those that arrive, `time_ns` how finely.
    """

    namespace: bool
    metric: bool
    value: Value
    stats: frozenset[str]
    unit: Some | Literal["mapped"]
    time_ns: Resolution
    attributes: Some


def probe_capabilities(target: Target) -> Capabilities:
    """Find out what the target holds. Raises NotHeld where not even a plain data point goes round."""
    point = plain_point(target)
    arrived = round_trip(target, point)
    kept = [name for name, text in point.attributes.items() if arrived.attributes.get(name) == text]
    return Capabilities(
        namespace=arrived.namespace == point.namespace,
        metric=arrived.metric == point.metric,
        value=held_value(target, point),
        stats=held_stats(target),
        unit=_held_unit(held_units(target, point)),
        time_ns=resolution(point.time_ns, arrived.time_ns),
        attributes="any" if NAME in kept else frozenset(kept),
    )


def plain_point(target: Target) -> DataPoint:
    """Return a probe that the target's rules let pass, with all attributes that its provider knows by name."""
    known = {name: name for name in sorted(target.provider.attribute_names)}
    return fitted(target.rules, replace(PROBE, attributes={**PROBE.attributes, **known}))


def held_stats(target: Target) -> frozenset[str]:
    """Return the statistics that arrive, sent all together or, where that is refused, in smaller groups."""
    if "stats" not in fields_of(target.provider):
        return frozenset()
    point = replace(plain_point(target), value=None)
    for names in (STATISTICS, *_fewer_stats(target)):
        stats = {name: _ALL_STATS[name] for name in names}
        arrived = arrived_or_none(target, replace(point, stats=stats))
        held = {name for name, number in stats.items() if arrived and (arrived.stats or {}).get(name) == number}
        if held:
            return frozenset(held)
    return frozenset()


def _fewer_stats(target: Target) -> Iterator[tuple[str, ...]]:
    for rule in target.rules:
        if rule.field == "stats" and isinstance(rule.keys, frozenset):
            yield tuple(name for name in STATISTICS if name in rule.keys)


def held_units(target: Target, point: DataPoint) -> dict[str, str | None]:
    """Return each unit that can be sent, and what it arrives as."""
    if "unit" not in fields_of(target.provider):
        return {}
    sent = {unit: arrived_or_none(target, replace(point, unit=unit)) for unit in UNITS}
    return {unit: arrived.unit for unit, arrived in sent.items() if arrived is not None}


def _held_unit(arrived: Mapping[str, str | None]) -> Some | Literal["mapped"]:
    as_stated = frozenset(unit for unit, held in arrived.items() if unit == held)
    if UNITS[-1] in as_stated:
        return "any"
    return "mapped" if not as_stated and len({held for held in arrived.values() if held}) > 1 else as_stated


def held_value(target: Target, point: DataPoint) -> Value:
    """Tell which numbers arrive. A large integer that is refused loses nothing."""
    arrived = [arrived_or_none(target, replace(point, value=number)) for number in (point.value, *FRACTIONS, LARGE)]
    plain, *fractions, large = arrived
    if plain is None or plain.value != point.value:
        return "none"
    if not any(each is not None and each.value == sent for each, sent in zip(fractions, FRACTIONS, strict=True)):
        return "integers"
    return "any" if large is None or large.value == LARGE else "doubles"


def fields_of(provider: Provider) -> frozenset[str]:
    """Return the fields of a data point that the provider reads from its calls."""
    return frozenset(form.name for form in provider.receive.point) if provider.receive else frozenset()


def resolution(stated_ns: int, arrived_ns: int) -> Resolution:
    """Tell how finely a time has arrived; `none` where it is another."""
    for name, size in _NS.items():
        if abs(arrived_ns - stated_ns) < size and arrived_ns % size == 0:
            return name
    return "none"


def arrived_or_none(target: Target, point: DataPoint) -> DataPoint | None:
    try:
        return round_trip(target, point)
    except NotHeld:
        return None
