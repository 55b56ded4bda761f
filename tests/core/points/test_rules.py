from collections.abc import Mapping
from typing import Any

import pytest

from gateway.core.outcome.outcome import Reason
from gateway.core.points.point import DataPoint
from gateway.core.points.rules import Dropped, Violation, apply_rules, compile_rules
from tests.support.specs import provider

NOW = 1_700_000_000
NS = 1_000_000_000


def point(**fields: Any) -> DataPoint:
    return DataPoint(**{"metric": "cpu", "time_ns": NOW * NS, "value": 1, **fields})


def held(rules: str, **fields: Any) -> DataPoint:
    """Return the point after the rules, and check that `compile_rules` agrees on whether it obeyed them."""
    text = f"provider: acme\nrules: {rules}\nsend: {{item: metric, request: {{method: POST, path: /}}}}"
    own, before = provider(text).rules.values(), point(**fields)
    obeys = compile_rules(own)(before, NOW * NS)
    try:
        after = apply_rules(own, before, now_ns=NOW * NS)
    except (Violation, Dropped):
        assert obeys is False
        raise
    assert obeys is (after is before)
    return after


@pytest.mark.parametrize(
    ("rules", "fields"),
    [
        ("{namespace: {required: true}}", {"namespace": "n"}),
        ("{namespace: {max_chars: 3, pattern: '[a-z]+'}}", {"namespace": None}),
        ("{namespace: {required: true, max_chars: 3, pattern: '[a-z]+'}}", {"namespace": "abc"}),
        ("{metric: {pattern: '[a-z]+'}}", {}),
        ("{metric: {max_chars: 2}}", {"metric": "äö"}),
        ("{metric: {max_bytes: 4}}", {"metric": "äö"}),
        ("{value: {min: 0, max: 10, integer: true}}", {"value": 10.0}),
        ("{value: {min: 0}}", {"value": None, "stats": {"sum": -1}}),
        ("{stats: {keys: [sum, count]}}", {"stats": {"sum": 1}}),
        ("{stats: {require: [min, max]}}", {"stats": {"max": 2, "sum": 2, "min": 1}}),
        ("{stats: {require: [min, max]}}", {}),
        ("{time_ns: {max_age_s: 60, max_ahead_s: 60}}", {"time_ns": (NOW - 60) * NS}),
        ("{attributes: {min: 1, max: 2, max_chars: 1, max_bytes: 4, keys: '[a-z]'}}", {"attributes": {"a": "1"}}),
        ("{attributes: {max: 2}}", {}),
        ("{attributes: {pattern: '[a-z]*'}}", {"attributes": {"A": "x", "B": ""}}),
        ("{value: {max: 9223372036854775807}}", {"value": 2**63 - 1}),
        ("{stats: {min: 0, max: 5}}", {"stats": {"min": 0, "max": 5.0}}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_point_within_the_rules_is_unchanged(rules: str, fields: Mapping[str, Any]):
    assert held(rules, **fields) == point(**fields)


@pytest.mark.parametrize(
    ("rules", "fields", "reason", "message"),
    [
        ("{namespace: {required: true}}", {}, Reason.MISSING_FIELD, "namespace is missing"),
        ("{namespace: {required: true}}", {"namespace": ""}, Reason.MISSING_FIELD, "namespace is missing"),
        ("{stats: {required: true}}", {"stats": {}}, Reason.MISSING_FIELD, "stats is missing"),
        ("{attributes: {min: 1}}", {}, Reason.MISSING_FIELD, "attributes is missing"),
        ("{metric: {required: true, max_chars: 2}}", {}, Reason.BAD_FIELD, "metric is longer than 2 characters"),
        (
            "{metric: {required: true, pattern: '[a-b]+'}}",
            {},
            Reason.BAD_FIELD,
            "metric 'cpu' is not of the form [a-b]+",
        ),
        ("{metric: {pattern: '[a-b]+'}}", {}, Reason.BAD_FIELD, "metric 'cpu' is not of the form [a-b]+"),
        ("{metric: {max_chars: 2}}", {}, Reason.BAD_FIELD, "metric is longer than 2 characters"),
        ("{metric: {max_bytes: 3}}", {"metric": "äö"}, Reason.BAD_FIELD, "metric is longer than 3 bytes"),
        ("{metric: {max_bytes: 2}}", {"metric": "\udcff"}, Reason.BAD_FIELD, "metric is longer than 2 bytes"),
        ("{value: {min: 0}}", {"value": -0.5}, Reason.BAD_FIELD, "value -0.5 is less than 0"),
        ("{value: {max: 10}}", {"value": 11}, Reason.BAD_FIELD, "value 11 is more than 10"),
        (
            "{value: {max: 9223372036854775807}}",
            {"value": 2**63},
            Reason.BAD_FIELD,
            "value 9223372036854775808 is more than 9223372036854775807",
        ),
        (
            "{stats: {max: 1.5}}",
            {"stats": {"avg": 1, "max": 2}},
            Reason.BAD_FIELD,
            "stats max 2 is more than 1.5",
        ),
        ("{stats: {integer: true}}", {"stats": {"avg": 0.5}}, Reason.BAD_FIELD, "stats avg 0.5 is not an integer"),
        (
            "{attributes: {pattern: '[a-z]+'}}",
            {"attributes": {"a": "x", "b": "x "}},
            Reason.BAD_FIELD,
            "attributes have 'x ' as 'b', which is not of the form [a-z]+",
        ),
        ("{value: {integer: true}}", {"value": 1.5}, Reason.BAD_FIELD, "value 1.5 is not an integer"),
        (
            "{stats: {require: [min, max, sum, count]}}",
            {"stats": {"max": 2, "sum": 2, "last": 1}},
            Reason.MISSING_FIELD,
            "stats without count, min",
        ),
        ("{stats: {keys: [sum]}}", {"stats": {"avg": 1}}, Reason.BAD_FIELD, "stats hold avg; sum are allowed"),
        (
            "{time_ns: {max_age_s: 2592000}}",
            {"time_ns": (NOW - 2592001) * NS},
            Reason.TOO_OLD,
            "the data point is 2592001 s old; 2592000 s are allowed",
        ),
        (
            "{time_ns: {max_ahead_s: 60}}",
            {"time_ns": (NOW + 61) * NS},
            Reason.BAD_FIELD,
            "the time is 61 s ahead; 60 s are allowed",
        ),
        (
            "{attributes: {min: 2}}",
            {"attributes": {"a": "1"}},
            Reason.BAD_FIELD,
            "attributes are 1; at least 2 are needed",
        ),
        (
            "{attributes: {max: 1}}",
            {"attributes": {"a": "1", "b": "2"}},
            Reason.BAD_FIELD,
            "attributes are 2; at most 1 are allowed",
        ),
        (
            "{attributes: {max_bytes: 3}}",
            {"attributes": {"ab": "ä"}},
            Reason.BAD_FIELD,
            "attributes take 4 bytes; at most 3 are allowed",
        ),
        (
            "{attributes: {max_chars: 1}}",
            {"attributes": {"a": "12"}},
            Reason.BAD_FIELD,
            "attributes have a value of 'a' longer than 1 characters",
        ),
        (
            "{attributes: {keys: '[a-z]'}}",
            {"attributes": {"A": "1"}},
            Reason.BAD_FIELD,
            "attributes have the name 'A', which is not of the form [a-z]",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_point_that_breaks_a_rule_is_rejected(rules: str, fields: Mapping[str, Any], reason: Reason, message: str):
    with pytest.raises(Violation) as caught:
        held(rules, **fields)

    assert (caught.value.reason, caught.value.message) == (reason, message)


@pytest.mark.parametrize("rule", ["{metric: {max_chars: 1, else: drop}}", "{unit: {required: true, else: drop}}"])
def test_point_that_breaks_a_rule_with_else_drop_is_dropped(rule: str):
    with pytest.raises(Dropped):
        held(rule)


@pytest.mark.parametrize(
    ("rules", "fields", "changed"),
    [
        ("{value: {min: 0, else: clamp}}", {"value": -3}, {"value": 0}),
        ("{value: {max: 9, else: clamp}}", {"value": 12}, {"value": 9}),
        ("{stats: {min: 0, max: 9, else: clamp}}", {"stats": {"min": -1, "max": 12}}, {"stats": {"min": 0, "max": 9}}),
        ("{time_ns: {max_age_s: 60, else: clamp}}", {"time_ns": 0}, {"time_ns": (NOW - 60) * NS}),
        ("{time_ns: {max_ahead_s: 1, else: clamp}}", {"time_ns": (NOW + 9) * NS}, {"time_ns": (NOW + 1) * NS}),
        ("{metric: {max_chars: 2, fix: \"'ab'\"}}", {}, {"metric": "ab"}),
        ("{namespace: {required: true, fix: metric}}", {}, {"namespace": "cpu"}),
        ("{attributes: {min: 1, fix: '{metric: metric}'}}", {}, {"attributes": {"metric": "cpu"}}),
        ("{value: {integer: true, fix: floor(value)}}", {"value": 1.5}, {"value": 1}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_clamp_and_fix_correct_a_violation(rules: str, fields: dict[str, Any], changed: dict[str, Any]):
    assert held(rules, **fields) == point(**fields | changed)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        pytest.param("{metric: {max_chars: 1, else: clamp}}", "longer than 1", id="text cannot be clamped"),
        pytest.param("{metric: {max_chars: 1, fix: \"'ab'\"}}", "longer than 1", id="a fix that breaks it again"),
        pytest.param("{metric: {max_chars: 1, fix: value}}", "metric: 1 is not text", id="a fix of another type"),
        pytest.param("{metric: {max_chars: 1, fix: length(value)}}", "metric: length", id="a fix that fails"),
    ],
)
def test_point_that_still_breaks_a_rule_is_rejected(rules: str, message: str):
    with pytest.raises(Violation, match=message):
        held(rules)


def test_later_rule_sees_the_correction_of_an_earlier_one():
    rules = "{metric: {max_chars: 2, fix: \"'ab'\"}, namespace: {required: true, fix: metric}}"

    assert held(rules).namespace == "ab"
