import pytest

from gateway.core.outcome.outcome import CODE_OF, HTTP_STATUS_OF, Code, Reason, failure


def test_every_reason_has_a_code_and_every_code_a_status():
    assert set(CODE_OF) == set(Reason)
    assert set(HTTP_STATUS_OF) == set(Code)


@pytest.mark.parametrize("reason", Reason)
def test_failure_has_the_code_of_its_reason(reason: Reason):
    outcome = failure(reason, "m")

    assert (outcome.code, outcome.reason, outcome.ok) == (CODE_OF[reason], reason, False)
