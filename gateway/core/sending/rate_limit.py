"""Space the calls to a target by its vendor's limits of calls and points per second."""

from dataclasses import dataclass
from typing import Self

from gateway.core.record import record


@dataclass(frozen=True, slots=True)
class Pace:
    """The limits of a vendor; None means unlimited."""

    requests_per_s: float | None = None
    points_per_s: float | None = None

    @property
    def is_unlimited(self) -> bool:
        return not self.requests_per_s and not self.points_per_s

    def interval_s(self, points: int) -> float:
        """Return the wait after a call with this number of points."""
        by_requests = 1 / self.requests_per_s if self.requests_per_s else 0
        return max(by_requests, points / self.points_per_s if self.points_per_s else 0)


UNPACED = Pace()


@record
class Pacer:
    """The state of one target: the next call may start at `free_at`, by any monotonic clock.

    Calls are spaced evenly, so no interval of a second exceeds the limits.
    """

    free_at: float = 0

    def reserve(self, pace: Pace, points: int, now: float) -> tuple[float, Self]:
        """Return when a call with this number of points may start, and the state after it is reserved."""
        start = max(now, self.free_at)
        return start, type(self)(start + pace.interval_s(points))

    def hold(self, until: float) -> Self:
        """Return the state after the vendor asked for a pause."""
        return type(self)(max(self.free_at, until))
