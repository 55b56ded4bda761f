"""Check the fields of a data point against the rules of a provider or route, and correct or drop it."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import attrgetter
from typing import Any, Literal

from gateway.core.expression import EvaluationError, Expression
from gateway.core.http.json import write_number
from gateway.core.moments import NS
from gateway.core.outcome.outcome import Reason
from gateway.core.points.point import STATISTICS, DataPoint, Number


class Violation(Exception):
    """An item cannot become a data point, or a data point breaks a rule: it must be rejected."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Dropped(Exception):
    """A data point breaks a rule that says `else: drop`."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule for one field.

    `min` and `max` limit a number, each statistic, or the number of attributes. `pattern` and `max_chars` limit a text,
    or each attribute value. `max_bytes` limits a text in UTF-8, or the sum of all attribute names and values. `keys` is
    a pattern for attribute names, or the set of allowed statistics; `require` are statistics that `stats` must have.
    `violation` checks a data point at a time.
    """

    field: str
    required: bool = False
    pattern: re.Pattern[str] | None = None
    max_chars: int | None = None
    max_bytes: int | None = None
    min: float | None = None
    max: float | None = None
    keys: re.Pattern[str] | frozenset[str] | None = None
    require: frozenset[str] = frozenset()
    integer: bool = False
    max_age_s: float | None = None
    max_ahead_s: float | None = None
    else_: Literal["reject", "drop", "clamp"] = "reject"
    fix: Expression | None = None
    violation: Callable[[DataPoint, int], Violation | None] = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "violation", _compile(self))


def apply_rules(rules: Iterable[Rule], point: DataPoint, *, now_ns: int) -> DataPoint:
    """Return the point, corrected by `fix` and `clamp`. Raises Violation or Dropped."""
    for rule in rules:
        broken = rule.violation(point, now_ns)
        if broken is None:
            continue
        if rule.fix is not None:
            try:
                point = replace(point, **{rule.field: rule.fix(point.as_mapping())})
                broken = rule.violation(point, now_ns)
            except (EvaluationError, ValueError) as error:
                broken = Violation(Reason.BAD_FIELD, f"{rule.field}: {error}")
        elif rule.else_ == "clamp":
            point = _clamped(rule, point, now_ns)
            broken = rule.violation(point, now_ns)
        if broken is not None:
            raise Dropped if rule.else_ == "drop" else broken
    return point


@lru_cache(1000)
def compile_rules(rules: tuple[Rule, ...]) -> Callable[[DataPoint, int], bool]:
    """Return a function that tells whether a data point obeys all rules at a time in nanoseconds.

    It is a single Python expression: a call per rule takes twice as long. Routes with the same rules share it.
    """
    terms: list[str] = []
    names: dict[str, Any] = {}
    for number, rule in enumerate(dict.fromkeys(rules)):
        value, holds = f"point.{rule.field}", f"violation{number}(point, now_ns) is None"
        names[f"violation{number}"] = rule.violation
        if rule.field == "time_ns":
            terms.append(f"({value} == now_ns or {holds})")
        elif rule.field in ("namespace", "metric", "unit") and rule.required and rule.max_bytes is None:
            terms.append(value)
            if rule.max_chars is not None:
                terms.append(f"len({value}) <= {rule.max_chars}")
            if rule.pattern is not None:
                names[f"fullmatch{number}"] = rule.pattern.fullmatch
                terms.append(f"fullmatch{number}({value})")
        else:
            terms.append(holds)
    source = f"lambda point, now_ns: True if {' and '.join(terms) or True} else False"
    obeys: Callable[[DataPoint, int], bool] = eval(source, names)
    return obeys


def _compile(rule: Rule) -> Callable[[DataPoint, int], Violation | None]:
    """Return a function that returns the violation of a data point, at a time in nanoseconds."""
    name, read, problem_of = rule.field, attrgetter(rule.field), _PROBLEM_OF.get(rule.field, _text_problem)
    required = rule.required or (name == "attributes" and bool(rule.min))
    limits = (rule.pattern, rule.max_chars, rule.max_bytes, rule.min, rule.max, rule.keys)
    is_limited = rule.integer or bool(rule.require) or any(limit is not None for limit in limits)
    max_age_s, max_ahead_s = rule.max_age_s, rule.max_ahead_s
    require = [each for each in STATISTICS if each in rule.require]

    def presence_violation(point: DataPoint, now_ns: int) -> Violation | None:
        value = read(point)
        if value or value == 0 or not required:
            return None
        return Violation(Reason.MISSING_FIELD, f"{name} is missing")

    def violation(point: DataPoint, now_ns: int) -> Violation | None:
        value = read(point)
        if not value and value != 0:  # null or empty
            return presence_violation(point, now_ns)
        if require and (missing := [each for each in require if each not in value]):
            return Violation(Reason.MISSING_FIELD, f"{name} without {', '.join(missing)}")
        problem = problem_of(rule, value)
        return Violation(Reason.BAD_FIELD, f"{name} {problem}") if problem else None

    def time_violation(point: DataPoint, now_ns: int) -> Violation | None:
        if point.time_ns == now_ns:
            return None
        age_s = (now_ns - point.time_ns) / NS
        if max_age_s is not None and age_s > max_age_s:
            return Violation(Reason.TOO_OLD, f"the data point is {age_s:.0f} s old; {max_age_s:.12g} s are allowed")
        if max_ahead_s is not None and -age_s > max_ahead_s:
            return Violation(Reason.BAD_FIELD, f"the time is {-age_s:.0f} s ahead; {max_ahead_s:.12g} s are allowed")
        return None

    if name == "time_ns":
        return time_violation
    return violation if is_limited else presence_violation


def _text_problem(rule: Rule, value: str) -> str | None:
    if rule.max_chars is not None and len(value) > rule.max_chars:
        return f"is longer than {rule.max_chars} characters"
    if rule.max_bytes is not None and _size(value) > rule.max_bytes:
        return f"is longer than {rule.max_bytes} bytes"
    if rule.pattern is not None and not rule.pattern.fullmatch(value):
        return f"{value[:80]!r} is not of the form {rule.pattern.pattern}"
    return None


def _number_problem(rule: Rule, value: Number) -> str | None:
    if rule.integer and not (isinstance(value, int) or value.is_integer()):
        return f"{value} is not an integer"
    if rule.min is not None and value < rule.min:
        return f"{value} is less than {write_number(rule.min)}"
    if rule.max is not None and value > rule.max:
        return f"{value} is more than {write_number(rule.max)}"
    return None


def _stats_problem(rule: Rule, stats: Mapping[str, Number]) -> str | None:
    if isinstance(rule.keys, frozenset) and not stats.keys() <= rule.keys:
        return f"hold {', '.join(sorted(stats.keys() - rule.keys))}; {', '.join(sorted(rule.keys))} are allowed"
    for name, number in stats.items():
        if problem := _number_problem(rule, number):
            return f"{name} {problem}"
    return None


def _attributes_problem(rule: Rule, attributes: Mapping[str, str]) -> str | None:
    if rule.min is not None and len(attributes) < rule.min:
        return f"are {len(attributes)}; at least {rule.min:g} are needed"
    if rule.max is not None and len(attributes) > rule.max:
        return f"are {len(attributes)}; at most {rule.max:g} are allowed"
    if rule.max_bytes is not None:
        size = sum(_size(name) + _size(value) for name, value in attributes.items())
        if size > rule.max_bytes:
            return f"take {size} bytes; at most {rule.max_bytes} are allowed"
    if rule.keys is None and rule.max_chars is None and rule.pattern is None:
        return None
    for name, value in attributes.items():
        if isinstance(rule.keys, re.Pattern) and not rule.keys.fullmatch(name):
            return f"have the name {name[:80]!r}, which is not of the form {rule.keys.pattern}"
        if rule.max_chars is not None and len(value) > rule.max_chars:
            return f"have a value of {name[:80]!r} longer than {rule.max_chars} characters"
        if rule.pattern is not None and not rule.pattern.fullmatch(value):
            return f"have {value[:80]!r} as {name[:80]!r}, which is not of the form {rule.pattern.pattern}"
    return None


_PROBLEM_OF: Mapping[str, Callable[[Rule, Any], str | None]] = {
    "attributes": _attributes_problem,
    "stats": _stats_problem,
    "value": _number_problem,
}


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _clamped(rule: Rule, point: DataPoint, now_ns: int) -> DataPoint:
    if rule.field == "time_ns":
        low = None if rule.max_age_s is None else now_ns - int(rule.max_age_s * NS)
        high = None if rule.max_ahead_s is None else now_ns + int(rule.max_ahead_s * NS)
        return replace(point, time_ns=_between(low, high, point.time_ns))
    if rule.field == "value" and point.value is not None:
        return replace(point, value=_between(rule.min, rule.max, point.value))
    if rule.field == "stats" and point.stats:
        stats = {name: _between(rule.min, rule.max, number) for name, number in point.stats.items()}
        return replace(point, stats=stats)
    return point


def _between(low: Number | None, high: Number | None, number: Any) -> Any:
    number = number if low is None else max(number, low)
    return number if high is None else min(number, high)
