"""The data that the calls of a provider can carry, found by probing."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from gateway.core.points.changes import change_point
from gateway.core.points.point import STATISTICS, DataPoint, Number
from gateway.core.points.rules import Violation
from gateway.core.vendor.provider import Provider
from gateway.core.vendor.route import PointChanges, Target
from gateway.proof.probe import NAME, PROBE, UNITS, arrived_or_none, fitted, round_trip

NumberKind = Literal["integer", "fraction", "large"]

UNCHANGED = PointChanges()
ALL_NUMBERS = frozenset[NumberKind](("integer", "fraction", "large"))
FRACTIONS = (0.25, 1.25, 1000.25)
LARGE = 2**53 + 1  # the first integer that a double cannot represent
MAX_NAMES = 2

_NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "minute": 60 * 10**9}
_STATS: Mapping[str, Number] = {"count": 4, "sum": 12, "min": 1, "max": 6, "avg": 3, "last": 5}


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What arrives of a probe that was `sent` with all fields, and of other values of some fields.

    `units` has what each unit arrives as, None if it does not arrive. A rejected large integer counts as one of the
    `numbers` that arrive: it is not lost silently. Without `has_time`, the time is always that of receipt.
    """

    sent: DataPoint
    arrived: DataPoint
    has_time: bool
    numbers: frozenset[NumberKind]
    units: Mapping[str, str | None]
    stats: frozenset[str]

    @property
    def attributes(self) -> list[str]:
        """The attributes that arrive unchanged."""
        return [name for name, text in self.sent.attributes.items() if self.arrived.attributes.get(name) == text]

    @property
    def resolution(self) -> str:
        """The finest resolution that explains the time that arrives; `none` if it is another time."""
        ahead_ns = abs(self.arrived.time_ns - self.sent.time_ns)
        fitting = (name for name, size in _NS.items() if ahead_ns < size and self.arrived.time_ns % size == 0)
        return next(fitting, "none")

    def words(self) -> dict[str, str]:
        """Return what arrives, by field, in a few words. `mapped`: units arrive in the provider's own words."""
        same = [unit for unit, found in self.units.items() if unit == found]
        mapped = not same and len({found for found in self.units.values() if found}) > 1
        numbers = "any" if "large" in self.numbers else "doubles"
        return {
            "namespace": "yes" if self.arrived.namespace == self.sent.namespace else "no",
            "metric": "yes" if self.arrived.metric == self.sent.metric else "no",
            "value": "none" if "integer" not in self.numbers else numbers if "fraction" in self.numbers else "integers",
            "stats": "any" if self.stats == set(STATISTICS) else _names(self.stats),
            "unit": "any" if UNITS[-1] in same else "mapped" if mapped else _names(same),
            "time": "no" if self.resolution == "none" else self.resolution,
            "attributes": "any" if NAME in self.attributes else _names(self.attributes),
        }


def _names(names: Collection[str]) -> str:
    """List the names, or the first few and the number of the others: a table has no room for a whole schema."""
    known = sorted(names)
    more = f" and {len(known) - MAX_NAMES} more" if len(known) > MAX_NAMES + 1 else ""
    return ", ".join(known[:MAX_NAMES] if more else known) + more or "no"


def probe_capabilities(
    target: Target,
    point: DataPoint | None = None,
    units: Iterable[str | None] | None = None,
    changes: PointChanges = UNCHANGED,
) -> Capabilities:
    """Probe a target with a point, by default one with all attributes that its provider names.

    Points are sent as after the route's changes and the target's rules. Raises ProbeFailed if not even the first one
    arrives.
    """
    fields = fields_read(target.provider)
    point = point or fitted(target.rules, with_attributes(target.provider.attribute_names))

    def expected(stated: DataPoint, *, but: str = "") -> DataPoint:
        return fitted(target.rules, set_fields(changes, stated)[0], but=but)

    def arrives(number: Number) -> bool | None:
        sent = expected(replace(point, value=number), but="value")
        got = arrived_or_none(target, sent)
        return None if got is None else got.value == sent.value

    sent = expected(point)
    arrived = round_trip(target, sent)
    found: dict[NumberKind, bool] = {
        "integer": arrives(point.value if point.value is not None else 1) is True,
        "fraction": any(arrives(number) for number in FRACTIONS),
        "large": arrives(LARGE) is not False,
    }
    numbers = frozenset(kind for kind, arriving in found.items() if arriving)
    arriving_units: dict[str, str | None] = {}
    for unit in (UNITS if "unit" in fields else ()) if units is None else units:
        stated = expected(replace(point, unit=unit), but="unit")
        if stated.unit:
            got = arrived_or_none(target, stated)
            arriving_units[stated.unit] = got.unit if got else None
    return Capabilities(sent, arrived, "time_ns" in fields, numbers, arriving_units, arriving_stats(target))


def set_fields(changes: PointChanges, point: DataPoint) -> tuple[DataPoint, frozenset[str]]:
    """Return the point after each `set` of a route, and the fields whose `set` fails for a probe."""
    made, unknown = {}, set()
    for name, expression in changes.set:
        try:
            made[name] = getattr(change_point(PointChanges(set=((name, expression),)), point), name)
        except Violation:
            unknown.add(name)
    return replace(point, **made), frozenset(unknown)


def with_attributes(names: Iterable[str]) -> DataPoint:
    return replace(PROBE, attributes={**PROBE.attributes, **{name: name for name in sorted(names)}})


def fields_read(provider: Provider) -> frozenset[str]:
    """Return the fields of a data point that the provider's `receive` reads."""
    return frozenset(field.name for field in provider.receive.point) if provider.receive else frozenset()


def arriving_stats(target: Target) -> frozenset[str]:
    """Return the statistics that arrive, sent together or, if that is rejected, in the groups that a rule allows."""
    if "stats" not in fields_read(target.provider):
        return frozenset()
    point = fitted(target.rules, with_attributes(target.provider.attribute_names))
    allowed = [rule.keys for rule in target.rules if rule.field == "stats" and isinstance(rule.keys, frozenset)]
    for names in (frozenset(STATISTICS), *allowed):
        stats = {name: _STATS[name] for name in STATISTICS if name in names}
        arrived = arrived_or_none(target, replace(point, value=None, stats=stats))
        found = {name for name, number in stats.items() if arrived and (arrived.stats or {}).get(name) == number}
        if found:
            return frozenset(found)
    return frozenset()
