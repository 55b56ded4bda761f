"""What is done with a stored data point after a try to deliver it."""

from typing import Literal

from gateway.core.outcome.outcome import Code, Outcome, Reason

Settlement = Literal["ack", "dead_letter", "retry"]


def settlement_of(outcome: Outcome) -> Settlement:
    """Return what to do by the outcome in B's own terms; a rule's `on_failure` decides where it stands.

    What was refused for what it is, will be refused again, and is dead-lettered. Anything else concerns the target.
    """
    if outcome.ok:
        return "ack"
    if outcome.on_failure is not None:
        return "dead_letter" if outcome.on_failure == "dead_letter" else "retry"
    is_at_fault = outcome.code is Code.INVALID_ARGUMENT or outcome.reason is Reason.INTERNAL
    return "dead_letter" if is_at_fault else "retry"
