"""The keys that providers and routes share: rules for data points, and limits of calls."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.core.points.decode import FIELD_READERS
from gateway.core.points.point import STATISTICS
from gateway.core.points.rules import Rule
from gateway.core.vendor.provider import UNLIMITED, Limits
from gateway.specs.binding import types as t
from gateway.specs.binding.place import Place
from gateway.specs.binding.table import Key, Table

FIELDS = tuple(FIELD_READERS)
POINT = frozenset(FIELDS)
EXACT = t.number(exact=True)


def _read_fix(place: Place) -> Any:
    """Compile an expression whose result is read like the field itself."""
    field, expression = place.path[-2], t.EXPRESSION.read(place)

    def fix(scope: Mapping[str, Any]) -> Any:
        value = expression(scope)
        return None if value is None else FIELD_READERS[str(field)](value)

    return fix


_STATISTICS = t.list_of(t.word(STATISTICS), at_least=1)


def _read_require(place: Place) -> frozenset[str]:
    if place.path[-2] != "stats":
        raise place.invalid("`require` lists statistics", "only the rule of `stats` has it; others have `required`")
    return frozenset(_STATISTICS.read(place))


REQUIRE = t.Plain("list of statistics", _read_require, _STATISTICS.json)
FIX = t.Plain("expression", _read_fix, {})

RULE = Table(
    "rule",
    Rule,
    Key("required", t.BOOLEAN, "`true`: the field must be present"),
    Key("pattern", t.PATTERN, "regular expression for the whole text; of `attributes`, for each value"),
    Key("max_chars", t.COUNT, "characters; of `attributes`, for each value"),
    Key("max_bytes", t.COUNT, "bytes; of `attributes`, of all names and values together"),
    Key("min", EXACT, "least number, statistic, or number of attributes"),
    Key("max", EXACT, "greatest number, statistic, or number of attributes"),
    Key("keys", t.list_or("pattern, or list", t.TEXT_SET, t.PATTERN), "names of attributes, or allowed statistics"),
    Key("require", REQUIRE, "of `stats`: the statistics that must be present"),
    Key("integer", t.BOOLEAN, "`true`: no fraction"),
    Key("max_age_s", t.POSITIVE, "of `time_ns`: how far in the past"),
    Key("max_ahead_s", t.number(at_least=0), "of `time_ns`: how far in the future"),
    Key("else", t.word(("reject", "drop", "clamp")), "`drop` the point, or `clamp` to the nearest number or time"),
    Key("fix", FIX, "the new value of the field, which must then obey the rule", lambda at: POINT),
    stated_only=True,
)
RULES = t.map_of(RULE, FIELDS)
LIMITS = Table(
    "limits",
    Limits,
    Key("points", t.COUNT, "data points per call"),
    Key("bytes", t.COUNT, "bytes of the body, signature included"),
    Key("requests_per_s", t.POSITIVE, "rate of calls, which are spread evenly"),
    Key("points_per_s", t.POSITIVE, "rate of data points, for which calls are spread evenly"),
    Key("concurrency", t.COUNT, "calls at the same time (128)"),
    Key("ordered", t.BOOLEAN, "`true`: one call of a group at a time, in order"),
    stated_only=True,
)


def make_rules(stated: Mapping[str, Mapping[str, Any]], others: Mapping[str, Rule] | None = None) -> dict[str, Rule]:
    """Return the other rules, with the stated keys overriding theirs, and the additional rules."""
    rules = dict(others or {})
    for field, keys in stated.items():
        rules[field] = replace(rules.get(field, Rule(field)), **keys)
    return rules


def make_limits(stated: Mapping[str, Any], others: Limits = UNLIMITED) -> Limits:
    """Return the other limits, with the stated keys overriding theirs."""
    own = dict(stated)
    rates = {name: own.pop(name) for name in ("requests_per_s", "points_per_s") if name in own}
    return replace(others, **own, pace=replace(others.pace, **rates))
