"""Outcomes of reports and calls in vendor-neutral terms: gRPC status codes and a closed list of reasons."""

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Any, Literal, Self

from gateway.core.record import record


class Code(StrEnum):
    """The gRPC status codes that the gateway uses, each with its HTTP status."""

    status: int

    def __new__(cls, value: str, status: int = 0) -> Self:  # a default, because Code(value) looks a member up
        member = str.__new__(cls, value)
        member._value_, member.status = value, status
        return member

    OK = "OK", 200
    INVALID_ARGUMENT = "INVALID_ARGUMENT", 400
    UNAUTHENTICATED = "UNAUTHENTICATED", 401
    PERMISSION_DENIED = "PERMISSION_DENIED", 403
    NOT_FOUND = "NOT_FOUND", 404
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED", 429
    UNAVAILABLE = "UNAVAILABLE", 503
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED", 504
    INTERNAL = "INTERNAL", 500
    UNIMPLEMENTED = "UNIMPLEMENTED", 501


class Reason(StrEnum):
    """The cause of an outcome that is not OK, with its code."""

    code: Code

    def __new__(cls, value: str, code: Code = Code.INTERNAL) -> Self:
        member = str.__new__(cls, value)
        member._value_, member.code = value, code
        return member

    MISSING_CREDENTIALS = "MISSING_CREDENTIALS", Code.UNAUTHENTICATED
    BAD_CREDENTIALS = "BAD_CREDENTIALS", Code.UNAUTHENTICATED
    UNKNOWN_KEY = "UNKNOWN_KEY", Code.UNAUTHENTICATED
    BAD_SIGNATURE = "BAD_SIGNATURE", Code.UNAUTHENTICATED
    STALE = "STALE", Code.UNAUTHENTICATED
    REPLAYED = "REPLAYED", Code.UNAUTHENTICATED
    NOT_ALLOWED = "NOT_ALLOWED", Code.PERMISSION_DENIED
    NOT_PARSED = "NOT_PARSED", Code.INVALID_ARGUMENT
    UNKNOWN_CALL = "UNKNOWN_CALL", Code.NOT_FOUND
    WRONG_METHOD = "WRONG_METHOD", Code.UNIMPLEMENTED
    BAD_HEADER = "BAD_HEADER", Code.INVALID_ARGUMENT
    MISSING_FIELD = "MISSING_FIELD", Code.INVALID_ARGUMENT
    BAD_FIELD = "BAD_FIELD", Code.INVALID_ARGUMENT
    TOO_OLD = "TOO_OLD", Code.INVALID_ARGUMENT
    TOO_LARGE = "TOO_LARGE", Code.INVALID_ARGUMENT
    TOO_SLOW = "TOO_SLOW", Code.DEADLINE_EXCEEDED
    CANNOT_HOLD = "CANNOT_HOLD", Code.INVALID_ARGUMENT
    PARTIAL = "PARTIAL", Code.INVALID_ARGUMENT
    THROTTLED = "THROTTLED", Code.RESOURCE_EXHAUSTED
    OVERLOADED = "OVERLOADED", Code.RESOURCE_EXHAUSTED
    QUEUE_FULL = "QUEUE_FULL", Code.RESOURCE_EXHAUSTED
    SHUTTING_DOWN = "SHUTTING_DOWN", Code.UNAVAILABLE
    ROUTE_GONE = "ROUTE_GONE", Code.UNAVAILABLE
    UPSTREAM_REJECTED = "UPSTREAM_REJECTED", Code.INVALID_ARGUMENT
    UPSTREAM_AUTH = "UPSTREAM_AUTH", Code.UNAVAILABLE
    UPSTREAM_DOWN = "UPSTREAM_DOWN", Code.UNAVAILABLE
    UPSTREAM_TIMEOUT = "UPSTREAM_TIMEOUT", Code.DEADLINE_EXCEEDED
    UPSTREAM_GARBLED = "UPSTREAM_GARBLED", Code.INTERNAL
    INTERNAL = "INTERNAL", Code.INTERNAL


@record
class RejectedItem:
    """A rejected item. `index` is its position in the report, from 0; `item` is its received value."""

    index: int
    reason: Reason
    message: str
    item: Any = None


OnFailure = Literal["retry", "dead_letter", "pause"]
Settlement = Literal["ack", "retry", "dead_letter"]


@record
class Outcome:
    """The classified result of a report or of one upstream call.

    `allow` lists the allowed methods after WRONG_METHOD. `on_failure` is the action that an outcome rule states.
    """

    code: Code
    reason: Reason | None = None
    message: str = ""
    accepted: int = 0
    rejected: tuple[RejectedItem, ...] = ()
    request_id: str = ""
    retry_after_s: float | None = None
    allow: tuple[str, ...] = ()
    on_failure: OnFailure | None = None

    @property
    def ok(self) -> bool:
        return self.code is Code.OK

    def with_request_id(self, request_id: str) -> "Outcome":
        """Return the outcome with the id of its request. Every report needs it, so it avoids the slow `replace`."""
        return Outcome(
            self.code,
            self.reason,
            self.message,
            self.accepted,
            self.rejected,
            request_id,
            self.retry_after_s,
            self.allow,
            self.on_failure,
        )

    def with_messages(self, change: Callable[[str], str]) -> "Outcome":
        """Change the message and those of the rejected items."""
        rejected = tuple([replace(item, message=change(item.message)) for item in self.rejected])
        return replace(self, message=change(self.message), rejected=rejected)

    def as_mapping(self, max_rejected: int | None = None) -> dict[str, Any]:
        """Return the variables that expressions about an outcome see."""
        return {
            "code": str(self.code),
            "reason": str(self.reason) if self.reason else None,
            "message": self.message,
            "accepted": self.accepted,
            "rejected": [
                {"index": item.index, "item": item.item, "reason": str(item.reason), "message": item.message}
                for item in self.rejected[:max_rejected]
            ],
            "request_id": self.request_id,
            "retry_after_s": self.retry_after_s,
        }


def failure(reason: Reason, message: str, *, retry_after_s: float | None = None) -> Outcome:
    """Return an outcome with this reason and its code."""
    return Outcome(reason.code, reason, message, retry_after_s=retry_after_s)


def settlement_of(outcome: Outcome) -> Settlement:
    """Return the settlement of a stored data point after an attempt to deliver it.

    The upstream's own code decides; a rule's `on_failure` takes precedence. A permanent rejection goes to the dead
    letters; any other failure concerns the target and is retried.
    """
    if outcome.ok:
        return "ack"
    is_permanent = outcome.code is Code.INVALID_ARGUMENT or outcome.reason is Reason.INTERNAL
    if outcome.on_failure is not None:
        is_permanent = outcome.on_failure == "dead_letter"
    return "dead_letter" if is_permanent else "retry"
