import pytest

from gateway.core.outcome.outcome import Code, Outcome, Reason, failure
from gateway.core.sending.breaker import FAILURES, LONGEST_PAUSE_S, Breaker

OK = Outcome(Code.OK)
DOWN = failure(Reason.UPSTREAM_DOWN, "down")
FORBIDDEN = Outcome(Code.PERMISSION_DENIED, Reason.UPSTREAM_AUTH)
AUTH = Outcome(Code.UNAUTHENTICATED, Reason.UPSTREAM_AUTH, "who are you")


def after(*outcomes: Outcome) -> Breaker:
    breaker = Breaker()
    for outcome in outcomes:
        breaker = breaker.after(outcome, 100)
    return breaker


@pytest.mark.parametrize(
    ("outcomes", "is_open"),
    [
        pytest.param([DOWN] * (FAILURES - 1), False, id="a few failures"),
        pytest.param([DOWN] * FAILURES, True, id="failures in a row"),
        pytest.param([DOWN] * (FAILURES - 1) + [OK] + [DOWN] * (FAILURES - 1), False, id="a success in between"),
        pytest.param([AUTH], True, id="not authenticated"),
        pytest.param([FORBIDDEN] * (FAILURES - 1), False, id="not allowed, a few times"),
        pytest.param([FORBIDDEN] * FAILURES, True, id="not allowed"),
        pytest.param([FORBIDDEN, FORBIDDEN, OK] * FAILURES, False, id="not allowed, others succeed"),
        pytest.param([Outcome(Code.NOT_FOUND, Reason.UPSTREAM_REJECTED)] * FAILURES, True, id="not found"),
        pytest.param([Outcome(Code.UNIMPLEMENTED, Reason.UPSTREAM_REJECTED)] * FAILURES, True, id="not implemented"),
        pytest.param([failure(Reason.UPSTREAM_REJECTED, "bad")] * 20, False, id="bad data points"),
        pytest.param([failure(Reason.THROTTLED, "slower")] * 20, False, id="throttled"),
        pytest.param([failure(Reason.INTERNAL, "ours")] * 20, False, id="our own fault"),
    ],
)
def test_failures_of_the_target_open_the_breaker(outcomes: list[Outcome], is_open: bool):
    assert after(*outcomes).admits(100) is not is_open


def test_open_breaker_admits_one_call_after_its_pause():
    breaker = after(AUTH)

    assert not breaker.admits(100.9)
    assert breaker.admits(101)
    assert not breaker.entered().admits(101)


def test_successful_probe_closes_the_breaker():
    assert after(AUTH).entered().after(OK, 101) == Breaker()


def test_pause_doubles_with_each_failed_probe():
    breaker, pauses = after(AUTH), []

    for _ in range(8):
        pauses.append(breaker.pause_s)
        breaker = breaker.entered().after(AUTH, breaker.until)

    assert pauses == [1, 2, 4, 8, 16, 32, 60, LONGEST_PAUSE_S]


def test_unsent_probe_lets_the_next_call_probe():
    breaker = after(AUTH).entered().given_up(101)

    assert breaker.admits(101)
    assert breaker.pause_s == 1


def test_call_in_flight_at_opening_does_not_prolong_the_pause():
    breaker = after(AUTH)

    assert breaker.after(DOWN, 100.5) is breaker


def test_breaker_keeps_the_outcome_that_opened_it():
    assert after(DOWN, AUTH).cause == AUTH
