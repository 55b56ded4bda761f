"""The circuit breaker of a target, as an immutable state machine.

    closed    all calls may start. FAILURES failures in a row, or one failure that concerns every call, open it
    open      no call may start before `until`; then one call may, which makes it probing
    probing   one call is in flight. Success closes the breaker; failure opens it again, for twice as long

Outcomes fall into four kinds: successes and permanent rejections of one call close the breaker; failures of the target
(UNHEALTHY) count; codes that may concern one call or all calls (DOUBTFUL) count too, but do not lengthen the pause,
because the next call may succeed; rejected credentials (OPENS_AT_ONCE) open it at once, because vendors lock out
clients that keep trying. A rule's `on_failure: pause` has the same effect.
"""

from dataclasses import replace
from typing import Literal, Self

from gateway.core.outcome.outcome import Code, Outcome, Reason
from gateway.core.record import record

State = Literal["closed", "open", "probing"]

FAILURES = 5
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0

UNHEALTHY = frozenset({Reason.UPSTREAM_DOWN, Reason.UPSTREAM_TIMEOUT, Reason.UPSTREAM_GARBLED})
DOUBTFUL = frozenset({Code.PERMISSION_DENIED, Code.NOT_FOUND, Code.UNIMPLEMENTED})
OPENS_AT_ONCE = frozenset({Code.UNAUTHENTICATED})


@record
class Breaker:
    """The state of one target. `cause` is the outcome that opened it. Times are of any monotonic clock."""

    state: State = "closed"
    failures: int = 0
    pause_s: float = FIRST_PAUSE_S
    until: float = 0
    cause: Outcome | None = None
    first_pause_s: float = FIRST_PAUSE_S

    @property
    def is_fresh(self) -> bool:
        """Whether the breaker is closed, and the last call was no failure."""
        return self.state == "closed" and not self.failures

    def admits(self, now: float) -> bool:
        return self.state == "closed" or (self.state == "open" and now >= self.until)

    def entered(self) -> Self:
        """Return the state after a call was admitted."""
        return replace(self, state="probing") if self.state == "open" else self

    def after(self, outcome: Outcome, now: float) -> Self:
        """Return the state after the outcome of a call."""
        opens = outcome.on_failure == "pause" or (outcome.on_failure is None and outcome.code in OPENS_AT_ONCE)
        is_doubtful = outcome.code in DOUBTFUL
        counts = (outcome.reason in UNHEALTHY or is_doubtful) and outcome.on_failure != "dead_letter"
        if not counts and not opens:
            return self if self.is_fresh else type(self)(first_pause_s=self.first_pause_s)
        failures = self.failures + 1
        if self.state == "closed" and not opens and failures < FAILURES:
            return type(self)("closed", failures, first_pause_s=self.first_pause_s)
        if self.state == "open":
            return self  # this call started before the breaker opened
        grows = self.state == "probing" and (opens or not is_doubtful)
        pause_s = min(self.pause_s * 2, LONGEST_PAUSE_S) if grows else self.first_pause_s
        return type(self)("open", failures, pause_s, now + pause_s, outcome, self.first_pause_s)

    def given_up(self, now: float) -> Self:
        """Return the state after an admitted call was not sent."""
        return replace(self, state="open", until=now) if self.state == "probing" else self
