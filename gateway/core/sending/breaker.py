"""Whether a target is worth calling: one that keeps failing is left alone for a while, then asked once."""

from dataclasses import dataclass
from typing import Literal, Self

from gateway.core.outcome.outcome import Code, Outcome, Reason

State = Literal["closed", "open", "probing"]

FAILURES = 5
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0

# So many of these in a row open the breaker: the upstream is ill, and may get well.
ILL = frozenset({Reason.UPSTREAM_DOWN, Reason.UPSTREAM_TIMEOUT, Reason.UPSTREAM_GARBLED})
# As many of these do too. They may concern every call, or only what one call holds: the next call may succeed.
DOUBTFUL = frozenset({Code.PERMISSION_DENIED, Code.NOT_FOUND, Code.UNIMPLEMENTED})
# One of these opens it: it concerns every call alike, and vendors lock out who goes on.
SHUT = frozenset({Code.UNAUTHENTICATED})


@dataclass(frozen=True, slots=True)
class Breaker:
    """The state of one target. While open, nothing goes before `until`; then one call does, and its outcome decides.

    `cause` is the outcome that opened it. `pause_s` doubles each time that the probe fails.
    """

    state: State = "closed"
    failures: int = 0
    pause_s: float = FIRST_PAUSE_S
    until: float = 0
    cause: Outcome | None = None

    def admits(self, now: float) -> bool:
        return self.state == "closed" or (self.state == "open" and now >= self.until)

    def entered(self) -> Self:
        """Return the state after a call was let through."""
        if self.state != "open":
            return self
        return type(self)("probing", self.failures, self.pause_s, self.until, self.cause)

    def after(self, outcome: Outcome, now: float) -> Self:
        """Return the state after a call's outcome."""
        is_shut = outcome.on_failure == "pause" or (outcome.on_failure is None and outcome.code in SHUT)
        is_ill = (outcome.reason in ILL or outcome.code in DOUBTFUL) and outcome.on_failure != "dead_letter"
        if not is_ill and not is_shut:
            return self if self == type(self)() else type(self)()
        failures = self.failures + 1
        if self.state == "closed" and not is_shut and failures < FAILURES:
            return type(self)("closed", failures)
        if self.state == "open":
            return self  # a call that was under way when it opened
        # What may be the fault of one call must not delay all others for long.
        grows = self.state == "probing" and (is_shut or outcome.code not in DOUBTFUL)
        pause_s = min(self.pause_s * 2, LONGEST_PAUSE_S) if grows else FIRST_PAUSE_S
        return type(self)("open", failures, pause_s, now + pause_s, outcome)

    def given_up(self, now: float) -> Self:
        """Return the state after the call that was let through was never sent."""
        if self.state != "probing":
            return self
        return type(self)("open", self.failures, self.pause_s, now, self.cause)
