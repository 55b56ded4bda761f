"""Errors of a stage, named for the party that must act. Each carries the outcome for the reporter."""

from typing import Self

from gateway.core.outcome.outcome import Outcome, Reason, failure


class GatewayError(Exception):
    """A stage failed."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(f"{outcome.reason}: {outcome.message}")
        self.outcome = outcome

    @classmethod
    def of(cls, reason: Reason, message: str, *, retry_after_s: float | None = None) -> Self:
        return cls(failure(reason, message, retry_after_s=retry_after_s))


class CallerError(GatewayError):
    """The reporter must act: its request is rejected."""


class UpstreamError(GatewayError):
    """The upstream's operator must act."""


class SpecError(GatewayError):
    """The author of the YAML must act: an expression fails for a valid request."""
