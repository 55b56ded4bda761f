import pytest

from gateway.core.sending.rate_limit import UNPACED, Pace, Pacer


@pytest.mark.parametrize(
    ("pace", "points", "interval_s"),
    [
        pytest.param(UNPACED, 1000, 0, id="any number"),
        pytest.param(Pace(requests_per_s=50), 1000, 0.02, id="requests"),
        pytest.param(Pace(points_per_s=100), 50, 0.5, id="points"),
        pytest.param(Pace(requests_per_s=1, points_per_s=100), 50, 1, id="the slower of both"),
    ],
)
def test_call_delays_the_next_call(pace: Pace, points: int, interval_s: float):
    assert pace.interval_s(points) == interval_s


def test_calls_are_spaced_evenly():
    pacer, starts = Pacer(), []

    for now in (10, 10, 10, 13):
        start, pacer = pacer.reserve(Pace(requests_per_s=2), 1, now)
        starts.append(start)

    assert starts == [10, 10.5, 11, 13]


def test_pause_of_the_vendor_delays_the_next_call():
    assert Pacer(5).hold(8).reserve(UNPACED, 1, 6)[0] == 8
    assert Pacer(9).hold(8).reserve(UNPACED, 1, 6)[0] == 9
