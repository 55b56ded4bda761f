"""Limits and timing of the queue."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Beyond a limit new points are rejected; stored points are kept.

    One destination may use `share` of `max_points` and `max_bytes`: an upstream that is down leaves space for others.
    `max_age_s` rejects points to a destination whose oldest queued point is older. `max_waiting` limits the appends
    that wait for the disk.
    """

    max_points: int = 1_000_000
    max_bytes: int = 1_073_741_824
    share: float = 0.5
    max_age_s: float | None = None
    max_waiting: int = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Intervals in seconds.

    `poll_s` is how often an idle worker looks for due points without being woken. A point that keeps failing is a
    suspect only while the target accepted others within `suspect_s`. `disk_s` limits each operation of a caller, and
    settlements that the disk rejected are retried every `settle_s`.
    """

    first_backoff_s: float = 1.0
    max_backoff_s: float = 60.0
    poll_s: float = 5.0
    suspect_s: float = 600.0
    disk_s: float = 10.0
    settle_s: float = 1.0
