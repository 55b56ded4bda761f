import pytest

from gateway.core.outcome.outcome import Code, Outcome, Reason, failure, settlement_of


def test_every_reason_has_a_code_and_every_code_a_status():
    assert all(reason.code is not Code.OK for reason in Reason)
    assert all(200 <= code.status <= 599 for code in Code)


@pytest.mark.parametrize("reason", Reason)
def test_failure_has_the_code_of_its_reason(reason: Reason):
    outcome = failure(reason, "m")

    assert (outcome.code, outcome.reason, outcome.ok) == (reason.code, reason, False)


@pytest.mark.parametrize(
    ("outcome", "settlement"),
    [
        pytest.param(Outcome(Code.OK), "ack", id="taken"),
        pytest.param(failure(Reason.UPSTREAM_REJECTED, "bad"), "dead_letter", id="rejected"),
        pytest.param(failure(Reason.TOO_LARGE, "large"), "dead_letter", id="too large"),
        pytest.param(failure(Reason.INTERNAL, "our spec"), "dead_letter", id="our own fault"),
        pytest.param(failure(Reason.UPSTREAM_DOWN, "down"), "retry", id="down"),
        pytest.param(failure(Reason.UPSTREAM_TIMEOUT, "late"), "retry", id="timeout"),
        pytest.param(failure(Reason.UPSTREAM_GARBLED, "garbled"), "retry", id="garbled"),
        pytest.param(failure(Reason.THROTTLED, "slower"), "retry", id="throttled"),
        pytest.param(Outcome(Code.UNAUTHENTICATED, Reason.UPSTREAM_AUTH), "retry", id="credentials rejected"),
        pytest.param(Outcome(Code.NOT_FOUND, Reason.UPSTREAM_REJECTED), "retry", id="not found"),
        pytest.param(Outcome(Code.UNAVAILABLE, Reason.UPSTREAM_REJECTED), "retry", id="not isolated"),
        pytest.param(Outcome(Code.INVALID_ARGUMENT, on_failure="retry"), "retry", id="a rule says retry"),
        pytest.param(Outcome(Code.INVALID_ARGUMENT, on_failure="pause"), "retry", id="a rule says pause"),
        pytest.param(Outcome(Code.UNAVAILABLE, on_failure="dead_letter"), "dead_letter", id="a rule says dead_letter"),
    ],
)
def test_outcome_decides_the_settlement_of_a_stored_point(outcome: Outcome, settlement: str):
    assert settlement_of(outcome) == settlement
