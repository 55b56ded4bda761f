"""The settlement of a stored data point after an attempt to deliver it."""

from typing import Literal

from gateway.core.outcome.outcome import Code, Outcome, Reason

Settlement = Literal["ack", "retry", "dead_letter"]


def settlement_of(outcome: Outcome) -> Settlement:
    """Settle by the upstream's own code. A rule's `on_failure` takes precedence.

    A permanent rejection goes to the dead letters; any other failure concerns the target and is retried.
    """
    if outcome.ok:
        return "ack"
    if outcome.on_failure is not None:
        return "dead_letter" if outcome.on_failure == "dead_letter" else "retry"
    is_permanent = outcome.code is Code.INVALID_ARGUMENT or outcome.reason is Reason.INTERNAL
    return "dead_letter" if is_permanent else "retry"
