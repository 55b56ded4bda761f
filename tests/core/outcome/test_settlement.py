import pytest

from gateway.core.outcome.outcome import Code, Outcome, Reason, failure
from gateway.core.outcome.settlement import settlement_of


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        pytest.param(Outcome(Code.OK), "ack", id="taken"),
        pytest.param(failure(Reason.UPSTREAM_REJECTED, "bad"), "dead_letter", id="refused"),
        pytest.param(failure(Reason.TOO_LARGE, "large"), "dead_letter", id="too large"),
        pytest.param(failure(Reason.INTERNAL, "our spec"), "dead_letter", id="our own fault"),
        pytest.param(failure(Reason.UPSTREAM_DOWN, "down"), "retry", id="down"),
        pytest.param(failure(Reason.UPSTREAM_TIMEOUT, "late"), "retry", id="timeout"),
        pytest.param(failure(Reason.UPSTREAM_GARBLED, "garbled"), "retry", id="garbled"),
        pytest.param(failure(Reason.THROTTLED, "slower"), "retry", id="throttled"),
        pytest.param(Outcome(Code.UNAUTHENTICATED, Reason.UPSTREAM_AUTH), "retry", id="who are you"),
        pytest.param(Outcome(Code.NOT_FOUND, Reason.UPSTREAM_REJECTED), "retry", id="not found"),
        pytest.param(Outcome(Code.UNAVAILABLE, Reason.UPSTREAM_REJECTED), "retry", id="not told apart"),
        pytest.param(Outcome(Code.INVALID_ARGUMENT, on_failure="retry"), "retry", id="a rule says retry"),
        pytest.param(Outcome(Code.INVALID_ARGUMENT, on_failure="pause"), "retry", id="a rule says pause"),
        pytest.param(Outcome(Code.UNAVAILABLE, on_failure="dead_letter"), "dead_letter", id="a rule says park"),
    ],
)
def test_stored_point_is_dealt_with_by_what_became_of_it(outcome: Outcome, verdict: str):
    assert settlement_of(outcome) == verdict
