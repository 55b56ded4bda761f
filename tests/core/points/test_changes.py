from dataclasses import replace
from typing import Any

import pytest

from gateway.core.expression import Compiler
from gateway.core.outcome.outcome import Reason
from gateway.core.points.changes import change_point
from gateway.core.points.point import DataPoint
from gateway.core.points.rules import Violation
from gateway.core.vendor.route import PointChanges

POINT = DataPoint("cpu", 1_700_000_000_000_000_000, "n", 1)


def setting(**fields: str) -> PointChanges:
    return PointChanges(set=tuple(Compiler().members(fields, None, ()).items()))


@pytest.mark.parametrize(
    ("fields", "changed"),
    [
        ({"metric": "join('.', [namespace, metric])"}, {"metric": "n.cpu"}),
        ({"unit": "'Percent'", "value": "'5'"}, {"unit": "Percent", "value": 5}),
        ({"attributes": "merge(attributes, {host: 'a'})"}, {"attributes": {"host": "a"}}),
        ({"namespace": "unit"}, {"namespace": None}),
    ],
    ids=["metric", "unit and value", "attributes", "null"],
)
def test_route_sets_fields(fields: dict[str, str], changed: dict[str, Any]):
    assert change_point(setting(**fields), POINT) == replace(POINT, **changed)


@pytest.mark.parametrize(
    ("fields", "reason", "message"),
    [
        ({"value": "metric"}, Reason.BAD_FIELD, "'cpu' is not a number"),
        ({"metric": "length(value)"}, Reason.BAD_FIELD, "length"),
        ({"metric": "unit"}, Reason.MISSING_FIELD, "metric is missing"),
        ({"time_ns": "unit"}, Reason.MISSING_FIELD, "time_ns is missing"),
        ({"value": "unit"}, Reason.MISSING_FIELD, "value is missing"),
    ],
    ids=["type", "failing", "no metric", "no time", "no value"],
)
def test_change_to_an_invalid_point_is_a_violation(fields: dict[str, str], reason: Reason, message: str):
    with pytest.raises(Violation, match=message) as caught:
        change_point(setting(**fields), POINT)

    assert caught.value.reason is reason
