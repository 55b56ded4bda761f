"""An upstream that accepts numbered data points, records them, and fails in a seeded sequence of ways."""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from tests.support.gateway import says
from tests.support.upstream import (
    Behaviour,
    answers,
    drips,
    garbage,
    giant,
    half_answers,
    hangs,
    nothing,
    read_request,
    resets,
)

THROTTLED, INTERNAL, INVALID = 1006, 1003, 1013
POISON_WORDS = "it is poison"

# Faults before accepting points, and faults in place of the answer after accepting them.
BEFORE_ACCEPTING: dict[str, Behaviour] = {
    "reset": resets,
    "no answer": nothing,
    "hang": hangs,
    "500": answers(500),
    "503": answers(503, b"<html>"),
    "throttled": says(THROTTLED, "slower"),
}
AFTER_ACCEPTING: dict[str, Behaviour] = {
    "reset after": resets,
    "no answer after": nothing,
    "hang after": hangs,
    "drips": drips,
    "truncated": half_answers,
    "giant": giant,
    "garbage": garbage,
    "500 after": answers(500),
    "internal after": says(INTERNAL, "internal"),
}


@dataclass(frozen=True, slots=True)
class Taken:
    """One acceptance of a point: from which gateway, and the fault in place of the answer, if any."""

    gateway: int
    fault: str | None


class Sink:
    """Accepts points of any number of gateways, one after the other.

    `faults` is the percentage of failing calls, `poison` are rejected numbers. It answers after `slow_s`, not before
    it `opens`.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        faults: int = 0,
        poison: range = range(0),
        slow_s: float = 0,
        opens: asyncio.Event | None = None,
    ) -> None:
        self.faults = faults
        self.taken: defaultdict[int, list[Taken]] = defaultdict(list)
        self.calls = 0
        self.failed: Counter[str] = Counter()
        self._random = Random(seed)
        self._bag: list[str] = []
        self._poison = poison
        self._slow_s = slow_s
        self._opens = opens

    def for_gateway(self, number: int) -> Behaviour:
        """Return the behaviour to one gateway; each gateway calls its own port."""

        async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while not writer.is_closing():
                body = (await read_request(reader)).partition(b"\r\n\r\n")[2]
                if self._opens is not None:
                    await self._opens.wait()
                await asyncio.sleep(self._slow_s)
                await self._answer(number, [point["value"] for point in json.loads(body)["Data"]])(reader, writer)

        return behave

    def unexplained(self) -> dict[int, Sequence[Taken]]:
        """Return the points accepted twice from one gateway that had got the answer."""
        return {
            number: taken
            for number, taken in self.taken.items()
            if any(before.fault is None and before.gateway == after.gateway for before, after in pairwise(taken))
        }

    def _answer(self, gateway: int, numbers: Sequence[int]) -> Behaviour:
        self.calls += 1
        fault = self._fault()
        if fault in BEFORE_ACCEPTING:
            return BEFORE_ACCEPTING[fault]
        if any(number in self._poison for number in numbers):
            return says(INVALID, POISON_WORDS)
        for number in numbers:
            self.taken[number].append(Taken(gateway, fault))
        return says(0) if fault is None else AFTER_ACCEPTING[fault]

    def _fault(self) -> str | None:
        if self._random.randrange(100) >= self.faults:
            return None
        if not self._bag:
            self._bag = [*BEFORE_ACCEPTING, *AFTER_ACCEPTING]
            self._random.shuffle(self._bag)
        fault = self._bag.pop()
        self.failed[fault] += 1
        return fault
