import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.moments import format_moment, parse_moment

NS = 1_000_000_000
NOW = 1_700_000_000 * NS  # 2023-11-14T22:13:20Z, a Tuesday


@pytest.mark.parametrize(
    ("time_ns", "pattern", "offset_s", "text"),
    [
        pytest.param(NOW, "%Y-%m-%dT%H:%M:%SZ", 0, "2023-11-14T22:13:20Z", id="UTC"),
        pytest.param(NOW, "%Y-%m-%d %H:%M:%S", 8 * 3600, "2023-11-15 06:13:20", id="east"),
        pytest.param(NOW, "%Y-%m-%d %H:%M:%S", -3 * 3600 - 1800, "2023-11-14 18:43:20", id="west by half an hour"),
        pytest.param(NOW, "%a, %d %b %Y", 8 * 3600, "Wed, 15 Nov 2023", id="day and month by name, of that zone"),
        pytest.param(NOW, "%b %d, %Y %I:%M:%S %p", 0, "Nov 14, 2023 10:13:20 PM", id="afternoon"),
        pytest.param(NOW, "%I %p", 2 * 3600, "12 AM", id="midnight"),
        pytest.param(NOW, "%I %p", -10 * 3600, "12 PM", id="noon"),
        pytest.param(NOW + NS - 1, "%S", 0, "20", id="a fraction is cut"),
        pytest.param(0, "%a %Y%m%d", 0, "Thu 19700101", id="the epoch"),
        pytest.param(-1, "%Y%m%d", 0, "19691231", id="before it"),
        pytest.param(NOW, "plain", 0, "plain", id="no directive"),
    ],
)
def test_time_is_written_by_its_pattern(time_ns: int, pattern: str, offset_s: int, text: str):
    assert format_moment(time_ns, pattern, offset_s) == text


def test_double_percent_sign_is_one_percent_sign():
    assert format_moment(NOW, "100%% of %Y") == "100% of 2023"


def test_escaped_percent_sign_does_not_start_a_directive():
    assert format_moment(NOW, "%%a %%b %%p") == "%a %b %p"


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("2023-11-14T22:13:20Z", NOW),
        ("2023-11-14T22:13:20", NOW),
        ("2023-11-14 22:13:20", NOW),
        ("2023-11-14t22:13:20z", NOW),
        ("20231114T221320Z", NOW),
        ("20231114T221320", NOW),
        ("2023-11-14T221320Z", NOW),
        ("2023-11-15T06:13:20+08:00", NOW),
        ("2023-11-15T06:13:20+0800", NOW),
        ("2023-11-15T06:13:20+08", NOW),
        ("20231115T061320+0800", NOW),
        ("2023-11-14 18:43:20 -0330", NOW),
        ("2023-11-14T22:13:20.5Z", NOW + NS // 2),
        ("2023-11-14T22:13:20,123456789Z", NOW + 123_456_789),
        ("2023-11-14T22:13:20.1234567899", NOW + 123_456_789),
        ("20231114T221320.001+0000", NOW + 1_000_000),
        ("2023-11-14T22:13Z", NOW - 20 * NS),
        ("2023-11-14T22", NOW - 800 * NS),
        ("2023-11-14", NOW - 80_000 * NS),
        ("1969-12-31T23:59:59.999999999Z", -1),
    ],
)
def test_iso_time_is_read(text: str, time_ns: int):
    assert parse_moment(text) == time_ns


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "1700000000",
        "2023-1114",
        "2023-11-14T22:1320",
        "2023-11-14T22:13.5Z",
        "2023-11-14T22:13:20.Z",
        "2023-02-29",
        "2023-11-14T24:00:00Z",
        "2023-11-14T22:13:20+24:00",
        "2023-11-14T22:13:20+08:60",
        "2023-11-14T22:13:20 UTC",
        " 2023-11-14",
        "2023-11-14\n",
        "٢٠٢٣-11-14",
        "0000-01-01",
    ],
)
def test_text_that_is_no_time_is_an_error_that_names_it(text: str):
    with pytest.raises(ValueError, match="is not a time") as caught:
        parse_moment(text)

    assert str(caught.value) == f"{text!r} is not a time"


@pytest.mark.parametrize(
    ("text", "pattern", "time_ns"),
    [
        ("Tue, 14 Nov 2023 22:13:20 UTC", "%a, %d %b %Y %H:%M:%S %Z", NOW),
        ("Nov 14, 2023 10:13:20 PM", "%b %d, %Y %I:%M:%S %p", NOW),
        ("2023-11-15 06:13:20.25 +0800", "%Y-%m-%d %H:%M:%S.%f %z", NOW + NS // 4),
        ("100% of 2023", "100%% of %Y", 1_672_531_200 * NS),
        ("%Z 2023", "%%Z %Y", 1_672_531_200 * NS),
    ],
)
def test_time_is_read_by_its_pattern(text: str, pattern: str, time_ns: int):
    assert parse_moment(text, pattern) == time_ns


@pytest.mark.parametrize("pattern", ["%Y", "%Q", "%", "%Y %Y", "%Y-%m-%d %Z"])
def test_text_of_another_form_is_an_error_that_names_both(pattern: str):
    with pytest.raises(ValueError, match="is not a time") as caught:
        parse_moment("2023-11-14 CET", pattern)

    assert str(caught.value) == f"'2023-11-14 CET' is not a time of the form {pattern!r}"


PATTERNS = ["%Y-%m-%dT%H:%M:%SZ", "%Y%m%dT%H%M%S%z", "%a %b %d %I:%M:%S %p %Y", "%d %B %Y %H:%M:%S %Z", "%Y-%j %T%%"]


@given(time_s=st.integers(-(10**9), 4 * 10**9), pattern=st.sampled_from(PATTERNS))
def test_reading_is_the_inverse_of_writing(time_s: int, pattern: str):
    text = format_moment(time_s * NS, pattern)

    assert parse_moment(text, pattern) == time_s * NS
    assert not pattern.endswith("Z") or pattern.endswith("%Z") or parse_moment(text) == time_s * NS
