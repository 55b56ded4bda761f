"""Outcomes of reports and calls in vendor-neutral terms: gRPC status codes and a closed list of reasons."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal


class Code(StrEnum):
    """The gRPC status codes that the gateway uses."""

    OK = "OK"
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    NOT_FOUND = "NOT_FOUND"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    UNAVAILABLE = "UNAVAILABLE"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    INTERNAL = "INTERNAL"
    UNIMPLEMENTED = "UNIMPLEMENTED"


class Reason(StrEnum):
    """The cause of an outcome that is not OK. `CODE_OF` gives the code of each reason."""

    MISSING_CREDENTIALS = "MISSING_CREDENTIALS"
    BAD_CREDENTIALS = "BAD_CREDENTIALS"
    UNKNOWN_KEY = "UNKNOWN_KEY"
    BAD_SIGNATURE = "BAD_SIGNATURE"
    STALE = "STALE"
    REPLAYED = "REPLAYED"
    NOT_ALLOWED = "NOT_ALLOWED"
    NOT_PARSED = "NOT_PARSED"
    UNKNOWN_CALL = "UNKNOWN_CALL"
    WRONG_METHOD = "WRONG_METHOD"
    BAD_HEADER = "BAD_HEADER"
    MISSING_FIELD = "MISSING_FIELD"
    BAD_FIELD = "BAD_FIELD"
    TOO_OLD = "TOO_OLD"
    TOO_LARGE = "TOO_LARGE"
    TOO_SLOW = "TOO_SLOW"
    CANNOT_HOLD = "CANNOT_HOLD"
    PARTIAL = "PARTIAL"
    THROTTLED = "THROTTLED"
    OVERLOADED = "OVERLOADED"
    QUEUE_FULL = "QUEUE_FULL"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    ROUTE_GONE = "ROUTE_GONE"
    UPSTREAM_REJECTED = "UPSTREAM_REJECTED"
    UPSTREAM_AUTH = "UPSTREAM_AUTH"
    UPSTREAM_DOWN = "UPSTREAM_DOWN"
    UPSTREAM_TIMEOUT = "UPSTREAM_TIMEOUT"
    UPSTREAM_GARBLED = "UPSTREAM_GARBLED"
    INTERNAL = "INTERNAL"


CODE_OF = {
    Reason.MISSING_CREDENTIALS: Code.UNAUTHENTICATED,
    Reason.BAD_CREDENTIALS: Code.UNAUTHENTICATED,
    Reason.UNKNOWN_KEY: Code.UNAUTHENTICATED,
    Reason.BAD_SIGNATURE: Code.UNAUTHENTICATED,
    Reason.STALE: Code.UNAUTHENTICATED,
    Reason.REPLAYED: Code.UNAUTHENTICATED,
    Reason.NOT_ALLOWED: Code.PERMISSION_DENIED,
    Reason.NOT_PARSED: Code.INVALID_ARGUMENT,
    Reason.UNKNOWN_CALL: Code.NOT_FOUND,
    Reason.WRONG_METHOD: Code.UNIMPLEMENTED,
    Reason.BAD_HEADER: Code.INVALID_ARGUMENT,
    Reason.MISSING_FIELD: Code.INVALID_ARGUMENT,
    Reason.BAD_FIELD: Code.INVALID_ARGUMENT,
    Reason.TOO_OLD: Code.INVALID_ARGUMENT,
    Reason.TOO_LARGE: Code.INVALID_ARGUMENT,
    Reason.TOO_SLOW: Code.DEADLINE_EXCEEDED,
    Reason.CANNOT_HOLD: Code.INVALID_ARGUMENT,
    Reason.PARTIAL: Code.INVALID_ARGUMENT,
    Reason.THROTTLED: Code.RESOURCE_EXHAUSTED,
    Reason.OVERLOADED: Code.RESOURCE_EXHAUSTED,
    Reason.QUEUE_FULL: Code.RESOURCE_EXHAUSTED,
    Reason.SHUTTING_DOWN: Code.UNAVAILABLE,
    Reason.ROUTE_GONE: Code.UNAVAILABLE,
    Reason.UPSTREAM_REJECTED: Code.INVALID_ARGUMENT,
    Reason.UPSTREAM_AUTH: Code.UNAVAILABLE,
    Reason.UPSTREAM_DOWN: Code.UNAVAILABLE,
    Reason.UPSTREAM_TIMEOUT: Code.DEADLINE_EXCEEDED,
    Reason.UPSTREAM_GARBLED: Code.INTERNAL,
    Reason.INTERNAL: Code.INTERNAL,
}

HTTP_STATUS_OF = {
    Code.OK: 200,
    Code.INVALID_ARGUMENT: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
    Code.INTERNAL: 500,
    Code.UNIMPLEMENTED: 501,
}


@dataclass(frozen=True, slots=True)
class RejectedItem:
    """A rejected item. `index` is its position in the report, from 0; `item` is its received value."""

    index: int
    reason: Reason
    message: str
    item: Any = None


OnFailure = Literal["retry", "dead_letter", "pause"]
Settlement = Literal["ack", "retry", "dead_letter"]


@dataclass(frozen=True, slots=True)
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
    return Outcome(CODE_OF[reason], reason, message, retry_after_s=retry_after_s)


def settlement_of(outcome: Outcome) -> Settlement:
    """Return the settlement of a stored data point after an attempt to deliver it.

    The upstream's own code decides; a rule's `on_failure` takes precedence. A permanent rejection goes to the dead
    letters; any other failure concerns the target and is retried.
    """
    if outcome.ok:
        return "ack"
    if outcome.on_failure is not None:
        return "dead_letter" if outcome.on_failure == "dead_letter" else "retry"
    is_permanent = outcome.code is Code.INVALID_ARGUMENT or outcome.reason is Reason.INTERNAL
    return "dead_letter" if is_permanent else "retry"
