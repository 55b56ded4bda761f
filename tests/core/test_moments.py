import pytest

from gateway.core.moments import format_moment

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
