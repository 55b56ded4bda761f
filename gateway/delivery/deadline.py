"""The deadline of a delivery, shared by all its stages."""

import time
from dataclasses import dataclass
from typing import Self

from gateway.core.outcome.errors import UpstreamError
from gateway.core.outcome.outcome import Reason


@dataclass(frozen=True, slots=True)
class Deadline:
    """A delivery must end at `end` (monotonic clock), `timeout_s` after it began."""

    end: float
    timeout_s: float

    @classmethod
    def after(cls, timeout_s: float) -> Self:
        return cls(time.monotonic() + timeout_s, timeout_s)

    def left_s(self) -> float:
        """Return the remaining seconds. Raises UpstreamError if there are none."""
        left_s = self.end - time.monotonic()
        if left_s <= 0:
            raise UpstreamError.of(Reason.UPSTREAM_TIMEOUT, f"the route's {self.timeout_s:g} s were used up")
        return left_s

    def comes_within(self, seconds: float) -> bool:
        return self.end - time.monotonic() <= seconds
