"""Outcomes of reports and calls in vendor-neutral terms: gRPC status codes and a closed list of reasons."""

from collections.abc import Callable
from dataclasses import dataclass, replace
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


_REASONS_OF = {
    Code.INVALID_ARGUMENT: (
        *(Reason.NOT_PARSED, Reason.BAD_HEADER, Reason.MISSING_FIELD, Reason.BAD_FIELD, Reason.TOO_OLD),
        *(Reason.TOO_LARGE, Reason.CANNOT_HOLD, Reason.PARTIAL, Reason.UPSTREAM_REJECTED),
    ),
    Code.UNAUTHENTICATED: (
        *(Reason.MISSING_CREDENTIALS, Reason.BAD_CREDENTIALS, Reason.UNKNOWN_KEY, Reason.BAD_SIGNATURE),
        *(Reason.STALE, Reason.REPLAYED),
    ),
    Code.PERMISSION_DENIED: (Reason.NOT_ALLOWED,),
    Code.NOT_FOUND: (Reason.UNKNOWN_CALL,),
    Code.RESOURCE_EXHAUSTED: (Reason.THROTTLED, Reason.OVERLOADED, Reason.QUEUE_FULL),
    Code.UNAVAILABLE: (Reason.SHUTTING_DOWN, Reason.ROUTE_GONE, Reason.UPSTREAM_AUTH, Reason.UPSTREAM_DOWN),
    Code.DEADLINE_EXCEEDED: (Reason.TOO_SLOW, Reason.UPSTREAM_TIMEOUT),
    Code.INTERNAL: (Reason.UPSTREAM_GARBLED, Reason.INTERNAL),
    Code.UNIMPLEMENTED: (Reason.WRONG_METHOD,),
}
CODE_OF = {reason: code for code, reasons in _REASONS_OF.items() for reason in reasons}

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
    return Outcome(CODE_OF[reason], reason, message, retry_after_s=retry_after_s)


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
