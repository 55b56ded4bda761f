from typing import Any

import pytest

from gateway.core.outcome.outcome import Reason
from gateway.core.points.point import DataPoint
from gateway.core.points.rules import Violation
from gateway.core.points.statistics import spread_statistics

POINT = DataPoint("cpu", 0, "n", stats={"sum": 12, "count": 4}, unit="s", attributes={"host": "a"})


def carried(wanted: str | None, held: set[str], point: DataPoint = POINT) -> list[tuple[str, Any, Any]]:
    return [(each.metric, each.value, each.stats) for each in spread_statistics(point, wanted, held)]


@pytest.mark.parametrize(
    ("wanted", "held", "expected"),
    [
        pytest.param(None, {"sum", "count", "min"}, [("cpu", None, POINT.stats)], id="all of them held"),
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
    (first, _) = spread_statistics(POINT, None, set())

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
