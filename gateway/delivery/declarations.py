"""What upstreams were told of new combinations, kept in memory, one declaration at a time for each target."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count

from cachetools import LRUCache

from gateway.core.outcome.errors import UpstreamError
from gateway.core.outcome.outcome import Outcome, Reason
from gateway.core.points.decode import Item
from gateway.core.sending.declare import DeclaringCall, declaring_calls
from gateway.core.vendor.route import Target
from gateway.delivery.courier import encoder_for
from gateway.delivery.deadline import Deadline

MAX_TARGETS = 1_000
MAX_DECLARED = 20_000

Send = Callable[[DeclaringCall], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class _Failure:
    keys: frozenset[bytes]
    outcome: Outcome


@dataclass(slots=True)
class _Told:
    """What one target was told: for each key, the number of the declaration. `failure` is for those who wait."""

    numbers: LRUCache[bytes, int]
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    failure: _Failure | None = None

    def new(self, needed: Mapping[bytes, Item]) -> dict[bytes, Item]:
        return {key: item for key, item in needed.items() if key not in self.numbers}


class Declarations:
    """Declares what is new to a target, and remembers it. Lives across reloads."""

    def __init__(self, *, max_declared: int = MAX_DECLARED) -> None:
        """`max_declared` combinations are remembered of each target, those that were used last."""
        self._targets: LRUCache[tuple[str, ...], _Told] = LRUCache(MAX_TARGETS)
        self._max_declared = max_declared
        self._numbers = count()

    async def declare(
        self, target: Target, needed: Mapping[bytes, Item], send: Send, deadline: Deadline
    ) -> Mapping[bytes, int]:
        """Have all that is needed declared, and return what of it was so before, by which declarations.

        Raises UpstreamError with the outcome of a declaration that failed. It fails whoever waited for the same, and is
        not remembered.
        """
        if not needed:
            return {}
        told = self._targets.setdefault(_identity(target), _Told(LRUCache(self._max_declared)))
        before = told.failure
        known = {key: number for key in needed if (number := told.numbers.get(key)) is not None}
        if told.new(needed):
            try:
                async with asyncio.timeout(deadline.left_s()), told.lock:
                    await self._declare(target, told, told.new(needed), before, send)
            except TimeoutError:
                raise UpstreamError.of(Reason.UPSTREAM_TIMEOUT, "declaring took too long") from None
        return known

    async def _declare(
        self, target: Target, told: _Told, new: Mapping[bytes, Item], before: _Failure | None, send: Send
    ) -> None:
        failure = told.failure
        if failure is not None and failure is not before and failure.keys <= new.keys():
            raise UpstreamError(failure.outcome)
        for call in declaring_calls(target, new, encoder_for(target)):
            outcome = await _outcome_of(send, call)
            if not outcome.ok:
                # Who waits has a deadline of its own, and may still be in time.
                if outcome.reason is not Reason.UPSTREAM_TIMEOUT:
                    told.failure = _Failure(frozenset(call.keys), outcome)
                raise UpstreamError(outcome)
            told.numbers.update(dict.fromkeys(call.keys, next(self._numbers)))

    def forget(self, target: Target, declared: Mapping[bytes, int]) -> None:
        """Forget what the upstream seems to have forgotten, unless it was declared anew meanwhile."""
        told = self._targets.get(_identity(target))
        for key, number in declared.items():
            if told is not None and told.numbers.get(key) == number:
                del told.numbers[key]


async def _outcome_of(send: Send, call: DeclaringCall) -> Outcome:
    try:
        outcome = await send(call)
    except UpstreamError as error:
        outcome = error.outcome
    return outcome if outcome.ok else replace(outcome, message=f"declaring: {outcome.message}")


def _identity(target: Target) -> tuple[str, ...]:
    """Tell targets apart: what was declared in one project or region of an account is new to another."""
    return (*target.account, target.provider.name, repr(sorted(target.given.items())))
