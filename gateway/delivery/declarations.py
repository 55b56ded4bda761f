"""Metric declarations already made to each target, kept in memory, one declaration at a time per target."""

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
from gateway.delivery.transport import Deadline, encode_context

MAX_TARGETS = 1_000
MAX_DECLARED = 20_000

Send = Callable[[DeclaringCall], Awaitable[Outcome]]


@dataclass(slots=True)
class _Declared:
    """The number of the declaration of each key. `failure` is the last failed one: its keys and its outcome."""

    numbers: LRUCache[bytes, int]
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    failure: tuple[frozenset[bytes], Outcome] | None = None

    def missing(self, needed: Mapping[bytes, Item]) -> dict[bytes, Item]:
        return {key: item for key, item in needed.items() if key not in self.numbers}


class Declarations:
    """Declares new combinations, and remembers the last `max_declared` used ones per target. Survives reloads."""

    def __init__(self, *, max_declared: int = MAX_DECLARED) -> None:
        self._targets: LRUCache[tuple[str, ...], _Declared] = LRUCache(MAX_TARGETS)
        self._max_declared = max_declared
        self._numbers = count()

    async def declare(
        self, target: Target, needed: Mapping[bytes, Item], send: Send, deadline: Deadline
    ) -> Mapping[bytes, int]:
        """Declare what is missing. Return the number of the declaration of each key that was not.

        Raises UpstreamError with the outcome of a failed declaration. All calls that waited for the same keys fail with
        it; the next call declares them again.
        """
        if not needed:
            return {}
        identity = _identity(target)
        declared = self._targets.get(identity)
        if declared is None:
            declared = self._targets[identity] = _Declared(LRUCache(self._max_declared))
        before = declared.failure
        known = {key: number for key in needed if (number := declared.numbers.get(key)) is not None}
        if len(known) < len(needed):
            try:
                async with asyncio.timeout(deadline.left_s()), declared.lock:
                    missing = declared.missing(needed)
                    failed = declared.failure
                    if failed is not None and failed is not before and failed[0] <= missing.keys():
                        raise UpstreamError(failed[1])
                    await self._send(target, declared, missing, send)
            except TimeoutError:
                raise UpstreamError.of(Reason.UPSTREAM_TIMEOUT, "the declaration took too long") from None
        return known

    async def _send(self, target: Target, declared: _Declared, missing: Mapping[bytes, Item], send: Send) -> None:
        for call in declaring_calls(target, missing, encode_context(target)):
            try:
                outcome = await send(call)
            except UpstreamError as error:
                outcome = error.outcome
            if not outcome.ok:
                outcome = replace(outcome, message=f"declaring: {outcome.message}")
                if outcome.reason is not Reason.UPSTREAM_TIMEOUT:  # waiting calls have their own deadlines
                    declared.failure = frozenset(call.keys), outcome
                raise UpstreamError(outcome)
            declared.numbers.update(dict.fromkeys(call.keys, next(self._numbers)))

    def forget(self, target: Target, known: Mapping[bytes, int]) -> None:
        """Forget declarations that the upstream seems to have lost, unless they were repeated in the meantime."""
        declared = self._targets.get(_identity(target))
        for key, number in known.items():
            if declared is not None and declared.numbers.get(key) == number:
                del declared.numbers[key]


def _identity(target: Target) -> tuple[str, ...]:
    """Return what a declaration belongs to: an account, and the project or region in `given`."""
    return (*target.account, target.provider.name, repr(sorted(target.given.items())))
