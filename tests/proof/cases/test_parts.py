from typing import Any

import pytest

from gateway.proof.cases.parts import differences


@pytest.mark.parametrize(
    ("expected", "made"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": None}, {}),
        ({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {"c": 2, "d": 3}]}}),
        (1, 1.0),
        ([], []),
    ],
    ids=["maps may hold more", "null means absent", "nested", "a number is a number", "empty"],
)
def test_equal_part_has_no_difference(expected: Any, made: Any):
    assert list(differences(expected, made, "x")) == []


@pytest.mark.parametrize(
    ("expected", "made", "found"),
    [
        ({"a": 1}, {}, ["x.a: expected 1, got nothing"]),
        ({"a": None}, {"a": 1}, ["x.a: expected nothing, got 1"]),
        ({"a": 1}, [1], ["x: expected a map, got [1]"]),
        ([1, 2], [1], ["x: expected 2 items, got 1 items"]),
        ([1], {"a": 1}, ['x: expected 1 items, got {"a":1}']),
        ([1, {"a": 2}], [3, {"a": "2"}], ["x[0]: expected 1, got 3", 'x[1].a: expected 2, got "2"']),
        (1, True, ["x: expected 1, got true"]),
        ("a", "b" * 300, [f'x: expected "a", got "{"b" * 199}…']),
    ],
    ids=["absent", "not absent", "list for map", "length", "map for list", "each item", "boolean", "long"],
)
def test_each_difference_has_its_path(expected: Any, made: Any, found: list[str]):
    assert list(differences(expected, made, "x")) == found
