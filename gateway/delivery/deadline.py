"""How long a delivery may take, whatever it consists of."""

import time
from dataclasses import dataclass
from typing import Self

from gateway.core.outcome.errors import UpstreamError
from gateway.core.outcome.outcome import Reason


@dataclass(frozen=True, slots=True)
class Deadline:
    """When a delivery has to be over, by the monotonic clock: `timeout_s` after it began."""

    end: float
    timeout_s: float

    @classmethod
    def after(cls, timeout_s: float) -> Self:
        return cls(time.monotonic() + timeout_s, timeout_s)

    def left_s(self) -> float:
        """Return the seconds that are left. Raises UpstreamError when there are none."""
        if self.comes_within(0):
            what = f"no time was left of the {self.timeout_s:g} s of this route"
            raise UpstreamError.of(Reason.UPSTREAM_TIMEOUT, what)
        return self.end - time.monotonic()

    def comes_within(self, seconds: float) -> bool:
        return self.end - time.monotonic() <= seconds
