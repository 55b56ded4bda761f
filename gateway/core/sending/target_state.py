"""The state of a target for display."""

from dataclasses import dataclass

from gateway.core.sending.breaker import State


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """A target that was called, with the key id of the calls.

    While it is paused, `paused_for_s` is the time left and `cause` the reason. `attempts` counts the failed calls since
    the last success, `reason` and `message` are the last error, and `next_attempt_in_s` is the wait until the next
    call; None if it is called with the next report. Durations are in seconds, with one decimal.
    """

    target: str
    key: str | None
    breaker: State
    paused_for_s: float
    cause: str
    under_way: int
    attempts: int
    reason: str | None
    message: str | None
    next_attempt_in_s: float | None
