"""Limits on the calls to a target: calls in flight, the vendor's pace, and a circuit breaker.

Each account at each target address has one state, which survives reloads. A call takes a permit, which waits for room
(`limits.concurrency`), then for its slot in the vendor's pace. The wait ends early if the call could no longer finish
within its deadline. The outcome of the call updates the breaker: five failures in a row, or one rejection of our
credentials, pause the target. After the pause a single call probes it; a failed probe doubles the pause.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog

from gateway.core.outcome.errors import UpstreamError
from gateway.core.outcome.outcome import Code, Outcome, Reason, failure, settlement_of
from gateway.core.sending.breaker import DOUBTFUL, FIRST_PAUSE_S, Breaker
from gateway.core.sending.rate_limit import Pacer
from gateway.core.sending.target_state import TargetState
from gateway.core.vendor.route import Target
from gateway.delivery.transport import Deadline

# A call that waits longer than this share of its time would be cut off after the upstream may have accepted it.
MAX_WAIT_SHARE = 0.5
LONGEST_QUIET_S = 300.0
# Without a limit of the vendor. It also bounds the connections to a target.
DEFAULT_CONCURRENCY = 128

log = structlog.get_logger()


@dataclass(slots=True)
class _State:
    name: str
    key: str | None
    breaker: Breaker
    pacer: Pacer = field(default_factory=Pacer)
    under_way: int = 0
    attempts: int = 0
    error: Outcome | None = None
    next_attempt: float | None = None  # monotonic clock
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)  # calls that wait for room

    def paused_for_s(self, now: float) -> float:
        return max(0.0, self.breaker.until - now) if self.breaker.state == "open" else 0.0

    def wake_next(self) -> None:
        """Wake the first call that waits for room."""
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def check_breaker(self) -> None:
        """Raise UpstreamError if the target is paused."""
        now = time.monotonic()
        if self.breaker.admits(now):
            return
        cause = self.breaker.cause or failure(Reason.UPSTREAM_DOWN, "")
        left_s = max(1.0, self.breaker.until - now)
        message = f"the target is paused for {left_s:.0f} s, because it failed: {cause.message}"
        code = Code.UNAVAILABLE if cause.code in DOUBTFUL else cause.code  # the doubt concerned another call
        raise UpstreamError(Outcome(code, cause.reason, message, retry_after_s=left_s))


class Limiter:
    """The limits of all targets. Without `pausing`, the circuit breaker never opens."""

    def __init__(self, *, pausing: bool = True, first_pause_s: float = FIRST_PAUSE_S) -> None:
        self._pausing = pausing
        self._first_pause_s = first_pause_s
        self._states: dict[tuple[str, ...], _State] = {}

    async def admit(self, target: Target, points: int, deadline: Deadline) -> _State:
        """Wait until a call may start, and count it as under way until `end`. Raises UpstreamError."""
        state = self._state(target)
        if state.breaker.state != "closed":
            state.check_breaker()
        limit = target.limits.concurrency or DEFAULT_CONCURRENCY
        if state.under_way >= limit:
            await _wait_for_room(state, limit, deadline)
        state.under_way += 1
        try:
            if state.pacer.free_at or not target.limits.pace.is_unlimited:
                await _wait_for_pace(state, target, points, deadline)
            if state.breaker.state != "closed":
                state.check_breaker()
                state.breaker = state.breaker.entered()
        except BaseException:
            state.under_way -= 1
            state.wake_next()
            raise
        return state

    def end(self, state: _State, outcome: Outcome | None) -> None:
        """End a call that was admitted. Update the breaker and the pace by its outcome; None if it was not sent.

        Errors of the gateway do not count.
        """
        before = state.breaker
        state.under_way -= 1
        if state.waiting:
            state.wake_next()
        if outcome is not None and outcome.ok and before.is_fresh:
            state.next_attempt, state.attempts, state.error = None, 0, None
            return
        now = time.monotonic()
        if outcome is None or outcome.reason is Reason.INTERNAL:
            state.breaker = before.given_up(now)
            return
        state.next_attempt = None
        failed = not outcome.ok and settlement_of(outcome) == "retry"
        state.attempts, state.error = (state.attempts + 1, outcome) if failed else (0, None)
        if self._pausing:
            state.breaker = before.after(outcome, now)
        if outcome.code is Code.RESOURCE_EXHAUSTED and outcome.retry_after_s is not None:
            state.pacer = state.pacer.hold(now + min(outcome.retry_after_s, LONGEST_QUIET_S))
        if state.breaker.state == "open" and before.state != "open":
            log.error("upstream_paused", target=state.name, pause_s=state.breaker.pause_s, message=outcome.message)
        elif state.breaker.state == "closed" and before.state != "closed":
            log.info("upstream_resumed", target=state.name)

    def keep(self, targets: Iterable[Target]) -> None:
        """Forget all other targets, except those with calls under way."""
        accounts = {target.account for target in targets}
        for account in [each for each, state in self._states.items() if each not in accounts and not state.under_way]:
            del self._states[account]

    def paused_for_s(self, target: Target) -> float:
        return self._state(target).paused_for_s(time.monotonic())

    def is_paused(self, target: Target) -> bool:
        """Return whether the breaker is open or probing."""
        state = self._states.get(target.account)
        return state is not None and state.breaker.state != "closed"

    def last_error(self, target: Target) -> Outcome | None:
        """Return the outcome of the last call if it failed."""
        return self._state(target).error

    def plan(self, target: Target, in_s: float) -> None:
        """Record when a failing target is called next, for display."""
        self._state(target).next_attempt = time.monotonic() + in_s

    def states(self) -> list[TargetState]:
        """Return the states of all targets for display."""
        now, states = time.monotonic(), []
        for state in self._states.values():
            paused_for_s, cause, error = state.paused_for_s(now), state.breaker.cause, state.error
            planned = [] if state.next_attempt is None else [state.next_attempt]
            planned += [state.breaker.until] if paused_for_s else []
            states.append(
                TargetState(
                    target=state.name,
                    key=state.key,
                    breaker=state.breaker.state,
                    paused_for_s=round(paused_for_s, 1),
                    cause=cause.message if cause else "",
                    under_way=state.under_way,
                    attempts=state.attempts,
                    reason=error.reason if error else None,
                    message=error.message if error else None,
                    next_attempt_in_s=round(max(0.0, max(planned) - now), 1) if planned else None,
                )
            )
        return states

    def _state(self, target: Target) -> _State:
        state = self._states.get(target.account)
        if state is None:
            key = target.credential.key if target.credential else None
            breaker = Breaker(first_pause_s=self._first_pause_s)
            state = self._states[target.account] = _State(target.account[0], key, breaker)
        return state


async def _wait_for_room(state: _State, limit: int, deadline: Deadline) -> None:
    try:
        async with asyncio.timeout(_max_wait_s(deadline)):
            while state.under_way >= limit:
                turn = asyncio.get_running_loop().create_future()
                state.waiting.append(turn)
                try:
                    await turn
                except asyncio.CancelledError:
                    if not turn.cancelled():
                        state.wake_next()
                    raise
    except TimeoutError:
        raise UpstreamError(_throttled(f"{limit} calls are under way", None)) from None


async def _wait_for_pace(state: _State, target: Target, points: int, deadline: Deadline) -> None:
    now = time.monotonic()
    start, pacer = state.pacer.reserve(target.limits.pace, points, now)
    if start > now and start - now > _max_wait_s(deadline):
        raise UpstreamError(_throttled("the vendor's rate limit is reached", start - now))
    state.pacer = pacer
    if start > now:
        await asyncio.sleep(start - now)


def _max_wait_s(deadline: Deadline) -> float:
    """Return how long a call may wait and still have enough time to complete. Raises as `left_s`."""
    return max(0.0, deadline.left_s() - (1 - MAX_WAIT_SHARE) * deadline.timeout_s)


def _throttled(why: str, retry_after_s: float | None) -> Outcome:
    return failure(Reason.THROTTLED, f"{why}; this call would exceed its deadline", retry_after_s=retry_after_s)
