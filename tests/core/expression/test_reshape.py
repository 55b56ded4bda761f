from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.expression.reshape import flatten, nest, pivot, unpivot

NAMES = st.text("abcXYZ", min_size=1, max_size=4)
TREES: Any = st.dictionaries(
    NAMES,
    st.recursive(
        st.integers() | NAMES,  # all of Unicode would be slow
        lambda below: st.lists(below, min_size=1, max_size=3) | st.dictionaries(NAMES, below, min_size=1, max_size=3),
        max_leaves=12,
    ),
    max_size=4,
)


@given(TREES, st.sampled_from([".0", ".1", "_0"]))
def test_flattened_map_can_be_nested_again(tree: dict[str, Any], style: str):
    assert nest(flatten(tree, style), style) == tree


@pytest.mark.parametrize(
    ("style", "flat"),
    [
        pytest.param(".0", {"A.0.B": 1, "A.1.B": 2, "C": 3}, id="index"),
        pytest.param(".1", {"A.1.B": 1, "A.2.B": 2, "C": 3}, id="index from one"),
        pytest.param(".member.1", {"A.member.1.B": 1, "A.member.2.B": 2, "C": 3}, id="word"),
    ],
)
def test_lists_are_named_in_the_style_of_a_vendor(style: str, flat: dict[str, Any]):
    tree = {"A": [{"B": 1}, {"B": 2}], "C": 3}

    assert flatten(tree, style) == flat
    assert nest(flat, style) == tree


def test_flatten_leaves_null_members_out():
    assert flatten({"A": None, "B": [None, 1]}, ".0") == {"B.1": 1}


def test_flattened_names_have_a_limited_length():
    tree: Any = {str(number): 1 for number in range(1000)}
    for _ in range(50):
        tree = {"k" * 1000: tree}

    with pytest.raises(ValueError, match="the flattened names have more than 8388608 characters"):
        flatten(tree, ".0")


def test_nest_closes_gaps_between_indices():
    assert nest({"A.10": "c", "A.9": "b", "A.2": "a"}, ".0") == {"A": ["a", "b", "c"]}


def test_names_without_indices_are_nested_to_a_map():
    assert nest({"A.0": "a", "A.x": "b"}, ".0") == {"A": {"0": "a", "x": "b"}}


@pytest.mark.parametrize(
    ("flat", "words"),
    [
        pytest.param({"A": 1, "A.0": 2}, "'A.0' is below a value", id="below a value"),
        pytest.param({"A.0": 2, "A": 1}, "'A' is above other names", id="above others"),
        pytest.param({"." * 70: 1}, "nested deeper than 64 levels", id="too deep"),
        pytest.param({"A.0": 1}, "the index 0 is below 1", id="index too low"),
    ],
)
def test_contradicting_names_are_rejected(flat: dict[str, Any], words: str):
    with pytest.raises(ValueError, match=words):
        nest(flat, ".1")


@pytest.mark.parametrize("style", ["", "0", ".2", "member.1", None])
def test_style_is_a_separator_and_a_first_index(style: Any):
    with pytest.raises(ValueError, match="is not a style"):
        flatten({}, style)


def test_repeated_name_starts_another_row():
    rows = [{"t": 1, "n": "a", "v": 1}, {"t": 1, "n": "a", "v": 2}, {"t": 1, "n": "b", "v": 3}]

    assert pivot(rows, "n", "v") == [{"t": 1, "a": 1}, {"t": 1, "a": 2, "b": 3}]


def test_rows_that_differ_in_another_member_stay_separate():
    rows = [{"t": 1, "n": "a", "v": 1}, {"t": 2, "n": "b", "v": 2}]

    assert pivot(rows, "n", "v") == [{"t": 1, "a": 1}, {"t": 2, "b": 2}]


@given(st.dictionaries(NAMES, st.integers(), min_size=1))
def test_unpivoted_rows_can_be_pivoted_again(members: dict[str, int]):
    assert pivot(unpivot(members, None), "name", "value") == [members]
