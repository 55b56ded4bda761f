"""The rules that a provider or route states for the fields of a data point, and what happens where one is broken."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from gateway.core.expression import EvaluationError, Expression
from gateway.core.http.json import write_number
from gateway.core.outcome.outcome import Reason
from gateway.core.points.point import DataPoint, Number

NS = 1_000_000_000


class Violation(Exception):
    """A data point breaks a rule and is to be rejected."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Dropped(Exception):
    """A data point breaks a rule that says `else: drop`."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What one field must be.

    `min` and `max` bound a number, each statistic, or how many attributes there are; `pattern` and `max_chars` a text,
    or each attribute's value; `max_bytes` a text in UTF-8, or all names and values of the attributes together; `keys`
    is a pattern for attribute names, or the statistics that are allowed.
    """

    field: str
    required: bool = False
    pattern: re.Pattern[str] | None = None
    max_chars: int | None = None
    max_bytes: int | None = None
    min: float | None = None
    max: float | None = None
    keys: re.Pattern[str] | frozenset[str] | None = None
    integer: bool = False
    max_age_s: float | None = None
    max_ahead_s: float | None = None
    else_: Literal["reject", "drop", "clamp"] = "reject"
    fix: Expression | None = None


def apply_rules(rules: Iterable[Rule], point: DataPoint, *, now_ns: int) -> DataPoint:
    """Return the point, changed where `fix` or `clamp` say so. Raises Violation or Dropped."""
    for rule in rules:
        broken = _broken(rule, point, now_ns)
        if broken is None:
            continue
        if rule.fix is not None:
            point, broken = _fixed(rule, rule.fix, point, now_ns)
        elif rule.else_ == "clamp":
            point = _clamped(rule, point, now_ns)
            broken = _broken(rule, point, now_ns)
        if broken is not None:
            if rule.else_ == "drop":
                raise Dropped
            raise Violation(*broken)
    return point


def _broken(rule: Rule, point: DataPoint, now_ns: int) -> tuple[Reason, str] | None:
    value = getattr(point, rule.field)
    if value is None or value == "" or value == {}:
        return (Reason.MISSING_FIELD, f"{rule.field} is missing") if _is_required(rule) else None
    if rule.field == "time_ns":
        return _broken_time(rule, value, now_ns)
    if rule.field == "attributes":
        what = _broken_attributes(rule, value)
    elif rule.field == "stats":
        what = _broken_stats(rule, value)
    elif rule.field == "value":
        what = _broken_number(rule, value)
    else:
        what = _broken_text(rule, value)
    return (Reason.BAD_FIELD, f"{rule.field} {what}") if what else None


def _is_required(rule: Rule) -> bool:
    return rule.required or (rule.field == "attributes" and bool(rule.min))


def _broken_text(rule: Rule, value: str) -> str | None:
    if rule.max_chars is not None and len(value) > rule.max_chars:
        return f"is longer than {rule.max_chars} characters"
    if rule.max_bytes is not None and _size(value) > rule.max_bytes:
        return f"is longer than {rule.max_bytes} bytes"
    if rule.pattern is not None and not rule.pattern.fullmatch(value):
        return f"{value[:80]!r} is not of the form {rule.pattern.pattern}"
    return None


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _broken_number(rule: Rule, value: float) -> str | None:
    if rule.integer and not (isinstance(value, int) or value.is_integer()):
        return f"{value} is not an integer"
    if rule.min is not None and value < rule.min:
        return f"{value} is less than {write_number(rule.min)}"
    if rule.max is not None and value > rule.max:
        return f"{value} is more than {write_number(rule.max)}"
    return None


def _broken_time(rule: Rule, time_ns: int, now_ns: int) -> tuple[Reason, str] | None:
    age_s = (now_ns - time_ns) / NS
    if rule.max_age_s is not None and age_s > rule.max_age_s:
        return Reason.TOO_OLD, f"the data point is {age_s:.0f} s old; {rule.max_age_s:.12g} s are allowed"
    if rule.max_ahead_s is not None and -age_s > rule.max_ahead_s:
        return Reason.BAD_FIELD, f"the time is {-age_s:.0f} s ahead; {rule.max_ahead_s:.12g} s are allowed"
    return None


def _broken_attributes(rule: Rule, attributes: Mapping[str, str]) -> str | None:
    if rule.min is not None and len(attributes) < rule.min:
        return f"are {len(attributes)}; at least {rule.min:g} are needed"
    if rule.max is not None and len(attributes) > rule.max:
        return f"are {len(attributes)}; at most {rule.max:g} are allowed"
    if rule.max_bytes is not None:
        size = sum(_size(name) + _size(value) for name, value in attributes.items())
        if size > rule.max_bytes:
            return f"take {size} bytes; at most {rule.max_bytes} are allowed"
    for name, value in attributes.items():
        if isinstance(rule.keys, re.Pattern) and not rule.keys.fullmatch(name):
            return f"have the name {name[:80]!r}, which is not of the form {rule.keys.pattern}"
        if rule.max_chars is not None and len(value) > rule.max_chars:
            return f"have a value of {name[:80]!r} longer than {rule.max_chars} characters"
        if rule.pattern is not None and not rule.pattern.fullmatch(value):
            return f"have {value[:80]!r} as {name[:80]!r}, which is not of the form {rule.pattern.pattern}"
    return None


def _broken_stats(rule: Rule, stats: Mapping[str, Any]) -> str | None:
    if isinstance(rule.keys, frozenset) and not stats.keys() <= rule.keys:
        return f"hold {', '.join(sorted(stats.keys() - rule.keys))}; {', '.join(sorted(rule.keys))} are allowed"
    broken = ((name, _broken_number(rule, number)) for name, number in stats.items())
    return next((f"{name} {what}" for name, what in broken if what), None)


def _fixed(rule: Rule, fix: Expression, point: DataPoint, now_ns: int) -> tuple[DataPoint, tuple[Reason, str] | None]:
    try:
        point = replace(point, **{rule.field: fix(point.as_mapping())})
    except (EvaluationError, ValueError) as error:
        return point, (Reason.BAD_FIELD, f"{rule.field}: {error}")
    return point, _broken(rule, point, now_ns)


def _clamped(rule: Rule, point: DataPoint, now_ns: int) -> DataPoint:
    if rule.field == "time_ns":
        time_ns = point.time_ns
        if rule.max_age_s is not None:
            time_ns = max(time_ns, now_ns - int(rule.max_age_s * NS))
        if rule.max_ahead_s is not None:
            time_ns = min(time_ns, now_ns + int(rule.max_ahead_s * NS))
        return replace(point, time_ns=time_ns)
    if rule.field == "value" and point.value is not None:
        return replace(point, value=_nearest(rule, point.value))
    if rule.field == "stats" and point.stats:
        return replace(point, stats={name: _nearest(rule, number) for name, number in point.stats.items()})
    return point


def _nearest(rule: Rule, number: Number) -> Number:
    number = number if rule.min is None else max(number, rule.min)
    return number if rule.max is None else min(number, rule.max)
