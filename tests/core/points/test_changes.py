from dataclasses import replace
from typing import Any

import pytest

from gateway.core.expression import Compiler
from gateway.core.outcome.outcome import Reason
from gateway.core.points.changes import change_point, spread_statistics
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


MEASURED = DataPoint("cpu", 0, "n", stats={"sum": 12, "count": 4}, unit="s", attributes={"host": "a"})


def carried(wanted: str | None, held: set[str], point: DataPoint = MEASURED) -> list[tuple[str, Any, Any]]:
    return [(each.metric, each.value, each.stats) for each in spread_statistics(point, wanted, held)]


@pytest.mark.parametrize(
    ("wanted", "held", "expected"),
    [
        pytest.param(None, {"sum", "count", "min"}, [("cpu", None, MEASURED.stats)], id="all of them held"),
        pytest.param(None, set(), [("cpu.sum", 12, None), ("cpu.count", 4, None)], id="none held"),
        pytest.param(None, {"sum"}, [("cpu", None, {"sum": 12}), ("cpu.count", 4, None)], id="some held"),
        pytest.param("sum", {"sum", "count"}, [("cpu", 12, None)], id="one wanted"),
        pytest.param("avg", set(), [("cpu", 3, None)], id="the average of sum and count"),
    ],
)
def test_statistics_are_spread_over_points(wanted: str | None, held: set[str], expected: list[tuple[str, Any, Any]]):
    assert carried(wanted, held) == expected


def test_point_keeps_its_value_when_statistics_are_spread():
    point = DataPoint("cpu", 0, value=1, stats={"min": 2})

    assert carried(None, set(), point) == [("cpu", 1, None), ("cpu.min", 2, None)]


def test_spread_points_keep_all_other_fields():
    (first, _) = spread_statistics(MEASURED, None, set())

    assert (first.namespace, first.unit, first.attributes, first.time_ns) == ("n", "s", {"host": "a"}, 0)


def test_point_without_statistics_is_unchanged():
    point = DataPoint("cpu", 0, value=1)

    assert spread_statistics(point, "avg", set()) == [point]


@pytest.mark.parametrize(
    "stats",
    [pytest.param({"sum": 3}, id="no count"), pytest.param({"sum": 3, "count": 0}, id="a count of none")],
)
def test_missing_selected_statistic_is_a_violation(stats: dict[str, float]):
    with pytest.raises(Violation, match=r"stats.avg, which the route sends as the value, is missing") as caught:
        spread_statistics(DataPoint("cpu", 0, stats=stats), "avg", set())

    assert caught.value.reason is Reason.CANNOT_HOLD
