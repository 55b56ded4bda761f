import math

import pytest

from gateway.specs.yaml.core_schema import TAG, resolve, resolve_tagged


@pytest.mark.parametrize("text", ["", "~", "null", "Null", "NULL"])
def test_null_has_five_spellings(text: str):
    assert resolve(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("True", True), ("TRUE", True), ("false", False), ("False", False), ("FALSE", False)],
)
def test_booleans_are_true_and_false(text: str, value: bool):
    assert resolve(text) is value


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("-5", -5), ("+5", 5), ("0777", 777), ("0o17", 15), ("0x1F", 31), ("9" * 30, int("9" * 30))],
)
def test_integers_follow_the_core_schema(text: str, expected: int):
    value = resolve(text)

    assert value == expected
    assert type(value) is int


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.5", 1.5),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        ("1E-2", 0.01),
        (".inf", math.inf),
        ("-.INF", -math.inf),
    ],
)
def test_floats_follow_the_core_schema(text: str, expected: float):
    value = resolve(text)

    assert value == expected
    assert type(value) is float


@pytest.mark.parametrize("text", [".nan", ".NaN", ".NAN"])
def test_nan_is_a_float(text: str):
    value = resolve(text)

    assert isinstance(value, float) and math.isnan(value)


@pytest.mark.parametrize(
    "text",
    [
        *("yes", "no", "on", "off", "y", "n", "tRUE", "nULL"),
        *("1_000", "12:30:45", "2020-01-01", "2020-01-01T00:00:00Z", "0b11", "-0x1", "1.2.3"),
        *(".", "e3", "+.nan", "=", "\uff11\uff12"),
    ],
)
def test_everything_else_is_text(text: str):
    assert resolve(text) == text


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("1", "str", "1"),
        ("", "str", ""),
        ("1", "int", 1),
        ("1", "float", 1.0),
        ("1.5", "float", 1.5),
        ("true", "bool", True),
        ("", "null", None),
    ],
)
def test_tagged_text_is_of_the_tags_kind(text: str, kind: str, expected: object):
    value = resolve_tagged(text, TAG + kind)

    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("text", "kind", "complaint"),
    [
        ("x", "int", "'x' is not an integer, as its tag says"),
        ("1.5", "int", "'1.5' is not an integer, as its tag says"),
        ("true", "int", "'true' is not an integer, as its tag says"),
        ("x", "float", "'x' is not a number, as its tag says"),
        ("yes", "bool", "'yes' is not true or false, as its tag says"),
        ("0", "null", "'0' is not null, as its tag says"),
    ],
)
def test_text_of_another_type_than_its_tag_is_an_error(text: str, kind: str, complaint: str):
    with pytest.raises(ValueError) as refused:
        resolve_tagged(text, TAG + kind)

    assert str(refused.value) == complaint


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("1e999", "'1e999' is larger than any number here", id="infinite"),
        pytest.param("1" * 5000, "a number of 5,000 characters is too long", id="5000 digits"),
    ],
)
def test_number_out_of_bounds_is_an_error(text: str, complaint: str):
    with pytest.raises(ValueError) as refused:
        resolve(text)

    assert str(refused.value) == complaint
