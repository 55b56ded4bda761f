"""A data point comes back from its JSON as it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.points.point import DataPoint
from gateway.delivery.queue.records import read_point, write_point

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
POINTS = st.builds(
    DataPoint,
    metric=TEXTS,
    time_ns=st.integers(-(2**63), 2**63 - 1),
    namespace=st.none() | TEXTS,
    value=st.none() | NUMBERS,
    stats=st.none() | st.dictionaries(st.sampled_from(["count", "sum", "min", "max", "avg", "last"]), NUMBERS),
    unit=st.none() | TEXTS,
    attributes=st.dictionaries(TEXTS, TEXTS, max_size=3),
)


@given(POINTS)
def test_any_point_comes_back_as_it_was(point: DataPoint) -> None:
    assert repr(read_point(write_point(point))) == repr(point)


@pytest.mark.parametrize("value", [2**64 - 1, -(2**63), 0, 1e300, 5e-324, -0.0, 1.0, 1234567890123456789])
def test_numbers_keep_every_digit_and_their_kind(value: int | float) -> None:
    found = read_point(write_point(DataPoint("m", 1, value=value))).value

    assert repr(found) == repr(value)


@pytest.mark.parametrize("text", ["", "{", "1", "null", "[]", '{"metric":"m"}', '{"metric":"m","time_ns":1,"more":2}'])
def test_what_is_not_a_point_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read_point(text)
