import gc
import json
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.http import json as json_
from gateway.core.http.json import TooManyParts, read_json, read_number, write_json, write_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("9007199254740993", 2**53 + 1, id="2**53+1"),
        pytest.param("18446744073709551616", 2**64, id="2**64"),
        pytest.param("[-170141183460469231731687303715884105728]", [-(2**127)], id="-2**127"),
        pytest.param('{"a":1,"b":12345678901234567890123,"a":2}', {"a": 2, "b": 12345678901234567890123}, id="doubled"),
        pytest.param('{"a":1,"a":2}', {"a": 2}, id="doubled key: the last counts"),
        pytest.param("0.1234567890123456789012345", 0.12345678901234568, id="nearest double"),
        pytest.param('"ä"', "ä", id="text"),
        pytest.param("[" * 64 + "]" * 64, None, id="64 levels"),
    ],
)
def test_numbers_are_read_exactly(text: str, value: Any):
    read = read_json(text)

    assert value is None or read == value
    assert read_json(text.encode()) == read


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "", id="nothing"),
        pytest.param(b"{", "line 1 column 2", id="open brace"),
        pytest.param(b"{} {}", "line 1 column 4", id="two values"),
        pytest.param(b"NaN", "expected a JSON value", id="NaN"),
        pytest.param(b"[Infinity, 12345678901234567890]", "expected a JSON value", id="Infinity beside a long integer"),
        pytest.param(b'[1e400, "\\ud800"]', "surrogates", id="half a character beside 1e400"),
        pytest.param(b"[1e400, NaN]", "not JSON", id="NaN beside 1e400"),
        pytest.param(b"9" * 4301, "^an integer has too many digits$", id="4301 digits"),
        pytest.param(b"[1e400, " + b"9" * 4301 + b"]", "^an integer has too many", id="4301 digits beside 1e400"),
        pytest.param(b"01", "column", id="leading zero"),
        pytest.param(b"[" * 65 + b"]" * 65, "nested deeper than 64 levels", id="65 levels"),
        pytest.param(b"[" * 9999 + b"]" * 9999, "depth", id="9999 levels"),
        pytest.param(b'{"a":' * 65 + b"1" + b"}" * 65, "nested deeper", id="65 objects"),
        pytest.param(b'"\xff"', "utf-8", id="bad UTF-8"),
        pytest.param(b'"\\ud800"', "surrogate", id="lone surrogate"),
        pytest.param(b'["\\udc00", 12345678901234567890]', "surrogate", id="lone surrogate beside a long integer"),
        pytest.param(b"\xef\xbb\xbf{}", "BOM", id="byte order mark"),
    ],
)
def test_invalid_json_is_rejected(data: bytes, message: str):
    with pytest.raises(ValueError, match=f"(?i){message}"):
        read_json(data)


def test_many_siblings_do_not_count_as_depth():
    assert len(read_json("[" + ",".join(["[{}]"] * 1000) + "]")) == 1000


def test_json_is_written_without_whitespace():
    assert write_json({"a": [1, 2.5, None, True], "ä": "x"}) == '{"a":[1,2.5,null,true],"ä":"x"}'.encode()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(2**64, "18446744073709551616", id="2**64"),
        pytest.param({"a": [-(2**63) - 1, True]}, '{"a":[-9223372036854775809,true]}', id="within others"),
        pytest.param([10**30, 1e400], f"[1{'0' * 30},null]", id="beside what is past a double"),
    ],
)
def test_integers_beyond_64_bits_are_written_exactly(value: Any, text: str):
    assert write_json(value) == text.encode()


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("\udcff", id="surrogate"),
        pytest.param({1, 2}, id="a set"),
        pytest.param([2**64, {1, 2}], id="a set beside a long integer"),
    ],
)
def test_values_outside_json_are_rejected(value: Any):
    with pytest.raises(ValueError, match=r"."):
        write_json(value)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("-0", 0),
        ("-12", -12),
        ("9007199254740993", 2**53 + 1),
        ("1.50", 1.5),
        ("1e3", 1000.0),
        ("-2E-1", -0.2),
    ],
)
def test_number_text_follows_the_json_grammar(text: str, number: float):
    read = read_number(text)

    assert (read, type(read)) == (number, type(number))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 ",
        "+1",
        "01",
        "1.",
        ".5",
        "1e",
        "0x1",
        "1_000",
        "NaN",
        "Infinity",
        "\u0661",
        "--1",
        "1\n",
        "1" * 5000,
    ],
    ids=lambda text: repr(text[:10]),
)
def test_text_outside_the_json_number_grammar_is_rejected(text: str):
    with pytest.raises(ValueError, match="is not a number"):
        read_number(text)


@pytest.mark.parametrize(
    ("number", "text"),
    [(1, "1"), (2**64, "18446744073709551616"), (0.1, "0.1"), (1.0, "1.0"), (1e100, "1e+100")],
)
def test_number_is_written_in_its_shortest_form(number: float, text: str):
    assert write_number(number) == text


def test_integer_outside_the_range_of_a_double_is_exact():
    assert read_json(b'{"a": 1%b, "b": 1}' % (b"0" * 400)) == {"a": 10**400, "b": 1}


def test_number_outside_the_range_of_a_double_is_infinite():
    assert read_json(b'{"a": 1e400, "b": 1}') == {"a": float("inf"), "b": 1}


NESTED = st.recursive(
    st.text(alphabet='[]{}"\\\\/ ,a', max_size=8) | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(alphabet='[{"\\\\', max_size=3), inner, max_size=2)
    ),
    max_leaves=20,
)


def depth_of(value: Any) -> int:
    if isinstance(value, list | dict):
        inner = value.values() if isinstance(value, dict) else value
        return 1 + max(map(depth_of, inner), default=0)
    return 0


@given(NESTED, st.integers(0, 4))
def test_depth_ignores_brackets_in_strings(value: Any, limit: int) -> None:
    assert json_.deeper_than(json.dumps(value).encode(), limit) is (depth_of(value) > limit)


@pytest.mark.parametrize("part", [b"{},", b"[],", b"1,", b'"",'])
def test_text_with_too_many_parts_is_rejected(part: bytes) -> None:
    with pytest.raises(TooManyParts, match="more than 200000 members and elements"):
        read_json(b"[" + part * 200_000 + b"1]")


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 65 + b'"' + b"a" * 8_388_608 + b'"' + b"]" * 65,
        b"[" * 65 + b'"' + b"[" * 8_388_608 + b'"' + b"]" * 65,
        b"[" * 65 + b'"' + b"\\\\" * 4_194_304 + b'"' + b"]" * 65,
        b"[" + b",".join([b"[" * 61 + b"]" * 61] * 3000) + b"]",
        b"[" * 4_194_304 + b"]" * 4_194_304,
        b"{}," * 2_796_202,
    ],
    ids=["a long string", "brackets in a string", "escapes", "61 levels", "deep", "many"],
)
def test_hostile_text_is_parsed_or_rejected_fast(raw: bytes) -> None:
    """It takes 50 ms at most; the limit of the test leaves room for a busy machine."""
    gc.freeze()  # as the running gateway does; the objects of other tests would be collected too
    try:
        started = time.thread_time()
        with suppress(ValueError):
            read_json(raw)
        took_s = time.thread_time() - started
    finally:
        gc.unfreeze()

    assert took_s < 0.4
