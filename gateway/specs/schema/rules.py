"""The keys that providers and routes share: rules for data points, and limits of calls."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.core.points.decode import FIELD_READERS
from gateway.core.points.rules import Rule
from gateway.core.vendor.provider import UNLIMITED, Limits
from gateway.specs.binding.place import Place
from gateway.specs.binding.table import Key, Table
from gateway.specs.binding.types import (
    BOOLEAN,
    COUNT,
    EXPRESSION,
    PATTERN,
    POSITIVE,
    TEXT,
    Plain,
    list_of,
    list_or,
    map_of,
    number,
    word,
)

FIELDS = tuple(FIELD_READERS)
POINT = frozenset(FIELDS)
EXACT = number(exact=True)


def _read_fix(place: Place) -> Any:
    """Compile an expression whose result is read like the field itself."""
    field, expression = place.path[-2], EXPRESSION.read(place)

    def fix(scope: Mapping[str, Any]) -> Any:
        value = expression(scope)
        return None if value is None else FIELD_READERS[str(field)](value)

    return fix


def _frozen(place: Place) -> frozenset[str]:
    return frozenset(list_of(TEXT).read(place))


STATISTICS = Plain("list of text", _frozen, {"type": "array", "items": {"type": "string"}})
FIX = Plain("expression", _read_fix, {})

RULE = Table(
    "rule",
    Rule,
    Key("required", BOOLEAN, "`true`: the field must be present"),
    Key(
        "pattern",
        PATTERN,
        "regular expression for the whole text; of `attributes`, for each value. `check` warns about patterns"
        " that can take exponential time, such as `(a+)+b`",
    ),
    Key("max_chars", COUNT, "characters; of `attributes`, for each value"),
    Key("max_bytes", COUNT, "bytes; of `attributes`, of all names and values together"),
    Key("min", EXACT, "least number, statistic, or number of attributes"),
    Key("max", EXACT, "greatest number, statistic, or number of attributes"),
    Key(
        "keys",
        list_or("pattern, or list", STATISTICS, PATTERN),
        "pattern for attribute names, or list of the allowed statistics",
    ),
    Key("integer", BOOLEAN, "`true`: no fraction"),
    Key("max_age_s", POSITIVE, "of `time_ns`: how far in the past"),
    Key("max_ahead_s", number(at_least=0), "of `time_ns`: how far in the future"),
    Key(
        "else",
        word(("reject", "drop", "clamp")),
        "what happens to a data point that breaks the rule; `clamp` takes the nearest allowed number or time",
    ),
    Key("fix", FIX, "the new value of the field, which must then obey the rule", sees=lambda at: POINT),
    stated_only=True,
)
RULES = map_of(RULE, FIELDS)

LIMITS = Table(
    "limits",
    Limits,
    Key("points", COUNT, "data points per call"),
    Key("bytes", COUNT, "bytes of the body, signature included"),
    Key("requests_per_s", POSITIVE, "rate of calls, which are spread evenly"),
    Key("points_per_s", POSITIVE, "rate of data points, for which calls are spread evenly"),
    Key("concurrency", COUNT, "calls at the same time (128)"),
    Key("ordered", BOOLEAN, "`true`: one call of a group at a time, in order"),
    stated_only=True,
)


def make_rules(stated: Mapping[str, Mapping[str, Any]], others: Mapping[str, Rule] | None = None) -> dict[str, Rule]:
    """Return the other rules, each stated key in place of theirs, and the rules that they do not have."""
    rules = dict(others or {})
    for field, keys in stated.items():
        rules[field] = replace(rules.get(field, Rule(field)), **keys)
    return rules


def make_limits(stated: Mapping[str, Any], others: Limits = UNLIMITED) -> Limits:
    """Return the other limits, each stated key in place of theirs."""
    own = dict(stated)
    rates = {name: own.pop(name) for name in ("requests_per_s", "points_per_s") if name in own}
    return replace(others, **own, pace=replace(others.pace, **rates))
