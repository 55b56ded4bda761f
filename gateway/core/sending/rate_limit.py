"""When the next call may go to a target whose vendor allows so many calls and points a second."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Pace:
    """What a vendor allows; None allows any number."""

    requests_per_s: float | None = None
    points_per_s: float | None = None

    def interval_s(self, points: int) -> float:
        """Return how long after a call of so many points the next may begin."""
        by_requests = 1 / self.requests_per_s if self.requests_per_s else 0
        return max(by_requests, points / self.points_per_s if self.points_per_s else 0)


UNPACED = Pace()


@dataclass(frozen=True, slots=True)
class Pacer:
    """The state of one target: from `free_at` on, by any monotonic clock, the next call may go.

    Calls are spread evenly, so that no second ever holds more than the vendor allows, however it counts them.
    """

    free_at: float = 0

    def reserve(self, pace: Pace, points: int, now: float) -> tuple[float, Self]:
        """Return when a call of so many points may go, and the state once it has been promised."""
        start = max(now, self.free_at)
        return start, type(self)(start + pace.interval_s(points))

    def hold(self, until: float) -> Self:
        """Return the state after a vendor has asked for quiet."""
        return type(self)(max(self.free_at, until))
