"""What an upstream's answer means, by the provider's `outcome` rules, and what the reporter is told of it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway.core.expression import EvaluationError
from gateway.core.http.json import read_json
from gateway.core.http.request import Response
from gateway.core.outcome.outcome import Code, Outcome, Reason, failure
from gateway.core.vendor.provider import OutcomeRule, RejectedItemsRule

MAX_MESSAGE_CHARS = 500
_POLLED = re.compile(r'/[!"$-~]{0,4000}')  # path and query: printable ASCII, no `#`

_CODE_OF_STATUS = {
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    405: Code.UNIMPLEMENTED,
    408: Code.DEADLINE_EXCEEDED,
    429: Code.RESOURCE_EXHAUSTED,
    500: Code.INTERNAL,
    501: Code.UNIMPLEMENTED,
    504: Code.DEADLINE_EXCEEDED,
}

# B's code, and the reason that goes with it (DESIGN: what B says is not the reporter's fault).
_REASON_OF = {
    Code.INVALID_ARGUMENT: Reason.UPSTREAM_REJECTED,
    Code.UNAUTHENTICATED: Reason.UPSTREAM_AUTH,
    Code.PERMISSION_DENIED: Reason.UPSTREAM_AUTH,
    Code.NOT_FOUND: Reason.UPSTREAM_REJECTED,
    Code.UNIMPLEMENTED: Reason.UPSTREAM_REJECTED,
    Code.RESOURCE_EXHAUSTED: Reason.THROTTLED,
    Code.UNAVAILABLE: Reason.UPSTREAM_DOWN,
    Code.DEADLINE_EXCEEDED: Reason.UPSTREAM_TIMEOUT,
    Code.INTERNAL: Reason.UPSTREAM_GARBLED,
}

_TOLD = {
    Code.UNAUTHENTICATED: Code.UNAVAILABLE,
    Code.PERMISSION_DENIED: Code.UNAVAILABLE,
    Code.NOT_FOUND: Code.INTERNAL,
    Code.UNIMPLEMENTED: Code.INTERNAL,
}


@dataclass(frozen=True, slots=True)
class RejectedEntry:
    """An item that an answer names as refused: by its index in the call, or by what its form holds."""

    index: int | None
    same: Any
    message: str


@dataclass(frozen=True, slots=True)
class Classified:
    """The outcome in B's own terms. Where the answer was not the last word, `poll` is the path that tells more, and the
    outcome what holds as long as it has not.

    `named` are the items that were refused, where the answer names them.
    """

    outcome: Outcome
    poll: str | None = None
    named: tuple[RejectedEntry, ...] = ()


def classify(
    rules: Sequence[OutcomeRule], answer: Response, names: Mapping[str, Any], polled: str | None = None
) -> Classified:
    """Judge an answer; `names` adds `call_id` and `given` to what rules see.

    `polled` is the path that gave this answer; it is polled again where a rule says to poll and names no other.
    """
    names = {**names, **answer_names(answer)}
    try:
        for rule in rules:
            if _holds(rule, answer.status, names):
                return _judge(rule, answer, names, polled)
    except EvaluationError as error:
        return Classified(failure(Reason.UPSTREAM_GARBLED, f"the answer cannot be judged: {error}"))
    if not rules and 200 <= answer.status <= 299:
        return Classified(Outcome(Code.OK))
    return Classified(_by_status(answer, ""))


def as_seen_by_reporter(outcome: Outcome) -> Outcome:
    """Return what the reporter is told of B's outcome: B's troubles with us are not the reporter's fault."""
    return replace(outcome, code=_TOLD.get(outcome.code, outcome.code))


def answer_names(answer: Response) -> dict[str, Any]:
    text = answer.body.decode("utf-8", "replace")
    try:
        body = read_json(answer.body) if answer.body else None
    except ValueError:
        body = None
    headers = {name.lower().replace("-", "_"): value for name, value in answer.headers}
    return {"status": answer.status, "headers": headers, "body": body, "text": text}


def _holds(rule: OutcomeRule, status: int, names: dict[str, Any]) -> bool:
    if rule.status and status not in rule.status:
        return False
    return rule.when is None or bool(rule.when(names))


def _judge(rule: OutcomeRule, answer: Response, names: dict[str, Any], polled: str | None) -> Classified:
    message = _message(rule.message(names)) if rule.message is not None else ""
    if rule.poll is not None:
        path = rule.poll(names) or polled
        if not isinstance(path, str) or not _POLLED.fullmatch(path):
            return Classified(failure(Reason.UPSTREAM_GARBLED, "the answer names no path to poll"))
        return Classified(failure(Reason.UPSTREAM_TIMEOUT, message or "the upstream has not finished"), path)
    code = rule.code if rule.of is None else _code_of(rule, rule.of(names))
    outcome = _by_status(answer, message) if code is None else _outcome(code, message, answer)
    outcome = outcome if rule.on_failure is None or outcome.ok else replace(outcome, on_failure=rule.on_failure)
    return Classified(outcome, named=() if rule.rejected is None else _named(rule.rejected, names))


def _named(rule: RejectedItemsRule, names: dict[str, Any]) -> tuple[RejectedEntry, ...]:
    found = rule.each(names)
    return tuple(_one_named(rule, element) for element in found) if isinstance(found, list) else ()


def _one_named(rule: RejectedItemsRule, element: Any) -> RejectedEntry:
    index = None if rule.index is None else rule.index(element)
    if rule.index is not None and (not isinstance(index, int) or isinstance(index, bool)):
        index = -1  # it names no item of the call
    same = None if rule.same is None else rule.same(element)
    return RejectedEntry(index, same, _message(rule.message(element)) if rule.message is not None else "")


def _code_of(rule: OutcomeRule, value: Any) -> Code | None:
    if value is None or isinstance(value, dict | list):
        return None
    word = str(value).lower() if isinstance(value, bool) else str(value)
    if word in rule.exact:
        return rule.exact[word]
    return next((code for prefix, code in rule.prefixes if word.startswith(prefix)), None)


def _by_status(answer: Response, message: str) -> Outcome:
    """Judge by the HTTP status alone. What the rules do not know to be a success is none, 2xx and 3xx included."""
    status = answer.status
    code = _CODE_OF_STATUS.get(status)
    if code is None:
        code = Code.INVALID_ARGUMENT if 400 <= status <= 499 else Code.UNAVAILABLE if status >= 500 else Code.INTERNAL
    if code is Code.INTERNAL and status < 500:
        message = message or f"the answer was not understood (status {status})"
    return _outcome(code, message, answer)


def _outcome(code: Code, message: str, answer: Response) -> Outcome:
    if code is Code.OK:
        return Outcome(code)
    message = message or f"the upstream answered with status {answer.status}"
    return Outcome(code, _REASON_OF[code], message, retry_after_s=_retry_after_s(answer))


def _retry_after_s(answer: Response) -> float | None:
    """Read Retry-After in its form of seconds (RFC 9110, section 10.2.3); a date is ignored."""
    text = next((value for name, value in answer.headers if name.lower() == "retry-after"), "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else None


def _message(value: Any) -> str:
    return value[:MAX_MESSAGE_CHARS] if isinstance(value, str) else ""
