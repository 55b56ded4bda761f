"""Errors at run time, split by who must act. Each carries the outcome that the reporter is told."""

from typing import Self

from gateway.core.outcome.outcome import Outcome, Reason, failure


class GatewayError(Exception):
    """A stage could not go on."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(f"{outcome.reason}: {outcome.message}")
        self.outcome = outcome

    @classmethod
    def of(cls, reason: Reason, message: str, *, retry_after_s: float | None = None) -> Self:
        return cls(failure(reason, message, retry_after_s=retry_after_s))


class CallerError(GatewayError):
    """The reporter must act: what it sent cannot be taken."""


class UpstreamError(GatewayError):
    """The upstream, or whoever runs it, must act."""


class SpecError(GatewayError):
    """The author of the YAML must act: a spec does not fit what it meets."""
