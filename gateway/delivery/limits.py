"""One gate before each target: it keeps to the vendor's pace, and away from a target that keeps failing.

Gates outlive reloads. Targets that are the same account at the same address share one.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog

from gateway.core.outcome.errors import UpstreamError
from gateway.core.outcome.outcome import Code, Outcome, Reason, failure
from gateway.core.outcome.settlement import settlement_of
from gateway.core.sending.breaker import DOUBTFUL, Breaker
from gateway.core.sending.rate_limit import Pacer
from gateway.core.sending.target_state import TargetState
from gateway.core.vendor.route import Target
from gateway.delivery.deadline import Deadline

# A call that began after more than this share of its time would be broken off, when it may have been taken, and so
# would all that wait behind it.
MOST_WAITING = 0.5
LONGEST_QUIET_S = 300.0
# Where the vendor states no bound of its own. Past the client's pool, calls would wait for a connection unseen, and an
# upstream that is well would seem not to answer.
MOST_UNDER_WAY = 128

log = structlog.get_logger()


@dataclass(slots=True)
class _Gate:
    name: str
    key: str | None
    breaker: Breaker = field(default_factory=Breaker)
    pacer: Pacer = field(default_factory=Pacer)
    under_way: int = 0
    attempts: int = 0
    error: Outcome | None = None
    next_attempt: float | None = None  # by the monotonic clock
    room: asyncio.Condition = field(default_factory=asyncio.Condition)


class Gates:
    """The gates of all targets that were ever called. With `patient`, none of them ever closes."""

    def __init__(self, *, patient: bool = False) -> None:
        self._patient = patient
        self._gates: dict[tuple[str, ...], _Gate] = {}

    @asynccontextmanager
    async def passing(self, target: Target, points: int, deadline: Deadline) -> AsyncIterator["Passage"]:
        """Wait until a call may go, and let it be under way within. Raises UpstreamError where it may not in time."""
        gate = self._gate(target)
        _ask(gate)
        await self._wait_for_room(gate, target, deadline)
        try:
            await _wait_for_pace(gate, target, points, deadline)
            _ask(gate)
            passage = Passage(gate, self._patient)
            gate.breaker = gate.breaker.entered()
            try:
                yield passage
            finally:
                if not passage.told:
                    gate.breaker = gate.breaker.given_up(time.monotonic())
        finally:
            gate.under_way -= 1
            async with gate.room:
                gate.room.notify()

    def keep(self, targets: Iterable[Target]) -> None:
        """Remove the gates of all other targets, except those with calls under way."""
        accounts = {target.account for target in targets}
        gone = [account for account, gate in self._gates.items() if account not in accounts and not gate.under_way]
        for account in gone:
            del self._gates[account]

    def closed_s(self, target: Target) -> float:
        """Return for how long no call of the target will go."""
        breaker = self._gate(target).breaker
        return max(0.0, breaker.until - time.monotonic()) if breaker.state == "open" else 0.0

    def is_paused(self, target: Target) -> bool:
        """Tell whether the target failed when it was called last, and is left alone for that."""
        gate = self._gates.get(target.account)
        return gate is not None and gate.breaker.state != "closed"

    def states(self) -> Iterator[TargetState]:
        now = time.monotonic()
        for gate in self._gates.values():
            cause = gate.breaker.cause.message if gate.breaker.cause else ""
            opens_in_s = max(0.0, gate.breaker.until - now) if gate.breaker.state == "open" else 0.0
            planned = [gate.next_attempt] if gate.next_attempt is not None else []
            planned += [gate.breaker.until] if gate.breaker.state == "open" else []
            yield TargetState(
                target=gate.name,
                key=gate.key,
                breaker=gate.breaker.state,
                opens_in_s=round(opens_in_s, 1),
                cause=cause,
                under_way=gate.under_way,
                attempts=gate.attempts,
                reason=gate.error.reason if gate.error else None,
                message=gate.error.message if gate.error else None,
                next_attempt_in_s=round(max(0.0, max(planned) - now), 1) if planned else None,
            )

    def last_error(self, target: Target) -> Outcome | None:
        """Return how the last call failed; None where the target answered it as it should."""
        return self._gate(target).error

    def plan(self, target: Target, in_s: float) -> None:
        """Take note of when a failing target is called next."""
        self._gate(target).next_attempt = time.monotonic() + in_s

    def _gate(self, target: Target) -> _Gate:
        gate = self._gates.get(target.account)
        if gate is None:
            key = target.credential.key if target.credential else None
            gate = self._gates[target.account] = _Gate(target.account[0], key)
        return gate

    async def _wait_for_room(self, gate: _Gate, target: Target, deadline: Deadline) -> None:
        most = target.limits.concurrency or MOST_UNDER_WAY
        if gate.under_way >= most:
            try:
                async with asyncio.timeout(_patience_s(deadline)), gate.room:
                    await gate.room.wait_for(lambda: gate.under_way < most)
            except TimeoutError:
                raise UpstreamError(_throttled(f"{most} calls are under way", None)) from None
        gate.under_way += 1


class Passage:
    """A call that was let through. Without a word of what became of it, it counts as never sent."""

    def __init__(self, gate: _Gate, patient: bool) -> None:
        self._gate = gate
        self._patient = patient
        self.told = False

    def tell(self, outcome: Outcome) -> None:
        """Take note of what became of the call."""
        if outcome.reason is Reason.INTERNAL:
            return  # a fault of our own says nothing of the target
        gate, now = self._gate, time.monotonic()
        gate.next_attempt = None
        failed = settlement_of(outcome) == "retry"
        gate.attempts, gate.error = (gate.attempts + 1, outcome) if failed else (0, None)
        before = gate.breaker
        if not self._patient:
            gate.breaker = gate.breaker.after(outcome, now)
        self.told = True
        if outcome.code is Code.RESOURCE_EXHAUSTED and outcome.retry_after_s is not None:
            gate.pacer = gate.pacer.hold(now + min(outcome.retry_after_s, LONGEST_QUIET_S))
        if gate.breaker.state == "open" and before.state != "open":
            log.error("target paused", target=gate.name, seconds=gate.breaker.pause_s, cause=outcome.message)
        elif gate.breaker.state == "closed" and before.state != "closed":
            log.info("target resumed", target=gate.name)


def _ask(gate: _Gate) -> None:
    now = time.monotonic()
    if gate.breaker.admits(now):
        return
    cause = gate.breaker.cause or failure(Reason.UPSTREAM_DOWN, "")
    left_s = max(1.0, gate.breaker.until - now)
    message = f"not called for {left_s:.0f} s, since it failed: {cause.message}"
    code = Code.UNAVAILABLE if cause.code in DOUBTFUL else cause.code  # this call was not judged
    raise UpstreamError(Outcome(code, cause.reason, message, retry_after_s=left_s))


async def _wait_for_pace(gate: _Gate, target: Target, points: int, deadline: Deadline) -> None:
    now = time.monotonic()
    start, pacer = gate.pacer.reserve(target.limits.pace, points, now)
    if start > now and start - now > _patience_s(deadline):
        raise UpstreamError(_throttled("more calls than the vendor allows", start - now))
    gate.pacer = pacer
    if start > now:
        await asyncio.sleep(start - now)


def _patience_s(deadline: Deadline) -> float:
    """Return how long a call may wait, and still have the time that it takes. Raises as `left_s`."""
    return max(0.0, deadline.left_s() - (1 - MOST_WAITING) * deadline.timeout_s)


def _throttled(why: str, retry_after_s: float | None) -> Outcome:
    return failure(Reason.THROTTLED, f"{why}; this one would come too late", retry_after_s=retry_after_s)
