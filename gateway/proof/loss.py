"""Computes what is lost between two providers: the data that reporters of one can express but the other cannot carry.

The source's own `send` shows what its reporters can express. Each such value is sent through the route's changes and
the target's rules on a round trip (`probe.py`), and compared with what arrives.
"""

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from gateway.core.outcome.outcome import Reason
from gateway.core.points.point import STATISTICS, DataPoint
from gateway.core.points.rules import Dropped, Rule, Violation, apply_rules
from gateway.core.vendor.provider import Provider
from gateway.core.vendor.route import PointChanges, Route, Target
from gateway.proof.capabilities import (
    ALL_NUMBERS,
    UNCHANGED,
    Capabilities,
    fields_read,
    probe_capabilities,
    set_fields,
    with_attributes,
)
from gateway.proof.probe import NAME, UNITS, ProbeFailed, fitted, own_targets

# Points that differ only in these would become one series.
IDENTITY = ("namespace", "metric", "attributes")
_UNITS_OF_TIME = {"us": "microseconds", "ms": "milliseconds", "s": "seconds", "minute": "minutes"}
_LOST_NUMBERS = {
    "integer": "it does not arrive",
    "fraction": "only integers arrive",
    "large": "integers above 2^53 lose digits",
}


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


@lru_cache(maxsize=256)
def expressible_by(
    provider: Provider, rules: tuple[Rule, ...] | None = None, names: frozenset[str] = frozenset()
) -> Capabilities:
    """Return what the provider's reporters can express; `names` are further attributes to probe.

    What arrives is in the words of the provider's own `send`; a field that they cannot express is empty. If its
    `receive` cannot read one, everything that `receive` reads counts as expressible.
    """
    fields = fields_read(provider)
    rules = tuple(provider.rules.values()) if rules is None else rules
    point = fitted(rules, with_attributes({*names, *provider.attribute_names}))
    for target in own_targets(provider, rules):
        with suppress(ProbeFailed):
            found = probe_capabilities(target, point)
            own = {name: value for name, value in found.arrived.as_mapping().items() if value not in (None, {})}
            units = dict.fromkeys(filter(None, found.units.values())) or found.units
            return replace(found, arrived=replace(_readable(fields, point), **own), units=units)
    if provider.attribute_names:
        point = replace(point, attributes={name: name for name in sorted(provider.attribute_names)})
    point = _readable(fields, point)
    units = dict.fromkeys(UNITS if "unit" in fields else ())
    stats = frozenset(STATISTICS if "stats" in fields else ())
    return Capabilities(point, point, "time_ns" in fields, ALL_NUMBERS, units, stats)


def _readable(fields: Collection[str], point: DataPoint) -> DataPoint:
    empty: dict[str, Any] = {"namespace": None, "unit": None, "attributes": {}}
    return replace(point, **{name: value for name, value in empty.items() if name not in fields})


def route_loss(route: Route, names: Collection[str] = ()) -> Loss:
    """Return what is lost on a route; `names` are the attributes that its changes read. Raises ProbeFailed."""
    source, target = route.source, route.target
    said = expressible_by(source.provider, source.rules, frozenset(names) | target.provider.attribute_names)
    return find_loss(said, target, route.points)


def find_loss(said: Capabilities, target: Target, changes: PointChanges = UNCHANGED) -> Loss:
    """Compare what is expressible, after the route's changes, with what arrives.

    Raises ProbeFailed if the target's provider cannot read what it sends.
    """
    got = probe_capabilities(target, said.arrived, said.units or (None,), changes)
    changed, unknown = set_fields(changes, said.arrived)
    found = (*_lost_fields(got, said.has_time or "time_ns" in dict(changes.set)), *_lost_values(said, got, changes))
    missing = (name for name in _missing(target.rules, changed) if name not in unknown)
    return Loss(tuple(loss for loss in found if loss.field not in unknown), tuple(missing))


def _missing(rules: tuple[Rule, ...], point: DataPoint) -> Iterator[str]:
    for rule in rules:
        try:
            apply_rules((rule,), point, now_ns=point.time_ns)
        except Violation as error:
            if error.reason is Reason.MISSING_FIELD:
                yield rule.field
        except Dropped:
            continue


def _lost_fields(got: Capabilities, has_time: bool) -> Iterator[FieldLoss]:
    for name in ("namespace", "metric"):
        sent, arrived = getattr(got.sent, name), getattr(got.arrived, name)
        if sent and arrived != sent:
            yield FieldLoss(name, f"it arrives as {arrived!r}" if arrived else "it does not arrive", True)
    kept = got.attributes
    lost = [name for name in got.sent.attributes if name not in kept]
    if lost and not kept:
        yield FieldLoss("attributes", "no attribute arrives", True)
    elif NAME in lost:
        yield FieldLoss("attributes", f"only {', '.join(kept)} arrive{'' if kept[1:] else 's'}", False)
    elif lost:
        yield FieldLoss("attributes", f"all arrive except {', '.join(lost)}", False)
    if has_time and got.resolution == "none":
        yield FieldLoss("time_ns", "it does not arrive and is replaced by the time of receipt", True)
    elif has_time and got.resolution != "ns":
        yield FieldLoss("time_ns", f"only whole {_UNITS_OF_TIME[got.resolution]} arrive", False)


def _lost_values(said: Capabilities, got: Capabilities, changes: PointChanges) -> Iterator[FieldLoss]:
    number = next((kind for kind in _LOST_NUMBERS if kind in said.numbers - got.numbers), None)
    if number is not None:
        yield FieldLoss("value", _LOST_NUMBERS[number], number == "integer")
    units = {unit: found for unit, found in got.units.items() if unit != found}
    renamed = [f"{unit!r} arrives as {found!r}" for unit, found in units.items() if found]
    if units:
        yield FieldLoss("unit", renamed[0] if renamed else "it does not arrive", not renamed)
    split = said.stats - got.stats
    if split and changes.stats is None:
        what = f"{', '.join(sorted(split))} become separate data points"
        yield FieldLoss("stats", what, split == said.stats)
