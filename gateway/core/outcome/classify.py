"""Classify an upstream's answer by the provider's `outcome` rules."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from gateway.core.expression import EvaluationError, Expression
from gateway.core.http.json import read_json
from gateway.core.http.request import Response
from gateway.core.outcome.outcome import Code, Outcome, Reason, failure
from gateway.core.record import record
from gateway.core.vendor.provider import OutcomeRule, RejectedItemsRule

MAX_MESSAGE_CHARS = 500
_POLL_PATH = re.compile(r'/[!"$-~]{0,4000}')  # path and query: printable ASCII, no `#`

_CODE_OF_STATUS = {code.status: code for code in Code if code is not Code.OK}
_CODE_OF_STATUS |= {405: Code.UNIMPLEMENTED, 408: Code.DEADLINE_EXCEEDED}

# The reason of each upstream code, and the code that the reporter sees: the upstream rejects the gateway's request or
# credentials, not the reporter's.
_UPSTREAM = {
    Code.INVALID_ARGUMENT: (Reason.UPSTREAM_REJECTED, Code.INVALID_ARGUMENT),
    Code.UNAUTHENTICATED: (Reason.UPSTREAM_AUTH, Code.UNAVAILABLE),
    Code.PERMISSION_DENIED: (Reason.UPSTREAM_AUTH, Code.UNAVAILABLE),
    Code.NOT_FOUND: (Reason.UPSTREAM_REJECTED, Code.INTERNAL),
    Code.UNIMPLEMENTED: (Reason.UPSTREAM_REJECTED, Code.INTERNAL),
    Code.RESOURCE_EXHAUSTED: (Reason.THROTTLED, Code.RESOURCE_EXHAUSTED),
    Code.UNAVAILABLE: (Reason.UPSTREAM_DOWN, Code.UNAVAILABLE),
    Code.DEADLINE_EXCEEDED: (Reason.UPSTREAM_TIMEOUT, Code.DEADLINE_EXCEEDED),
    Code.INTERNAL: (Reason.UPSTREAM_GARBLED, Code.INTERNAL),
}


@record
class RejectedEntry:
    """An entry of an answer that names a rejected item, by its index in the call or by members of its form."""

    index: int | None
    same: Any
    message: str


@record
class Classified:
    """An outcome with the upstream's own code.

    If the call is still being processed, `poll` is the path to poll, and the outcome applies if polling stops now.
    """

    outcome: Outcome
    poll: str | None = None
    entries: tuple[RejectedEntry, ...] = ()


_OK = Classified(Outcome(Code.OK))


def classify(
    rules: Sequence[OutcomeRule], answer: Response, names: Mapping[str, Any], polled: str | None = None
) -> Classified:
    """Classify an answer by the first rule that matches, else by its HTTP status.

    `names` adds `call_id` and `given` to the variables of the rules. `polled` is the path that returned this answer;
    it is polled again if the rule names no other path.
    """
    variables, status = AnswerNames(answer, names), answer.status
    try:
        for rule in rules:
            if (not rule.status or status in rule.status) and (rule.when is None or rule.when(variables)):
                if rule.code is Code.OK and rule.rejected is None and rule.poll is None and rule.of is None:
                    return _OK
                return _by_rule(rule, answer, variables, polled)
    except EvaluationError as error:
        return Classified(failure(Reason.UPSTREAM_GARBLED, f"the answer cannot be classified: {error}"))
    if not rules and 200 <= status <= 299:
        return _OK
    return Classified(_by_status(answer, ""))


def as_seen_by_reporter(outcome: Outcome) -> Outcome:
    """Translate the upstream's code: the upstream rejecting the gateway is not an error of the reporter."""
    return outcome if outcome.ok else replace(outcome, code=_UPSTREAM[outcome.code][1])


class AnswerNames(dict[str, Any]):
    """The variables that expressions about an answer see. `headers`, `body` and `text` are made on first use."""

    def __init__(self, answer: Response, names: Mapping[str, Any] = MappingProxyType({})) -> None:
        super().__init__(names)
        self["status"] = answer.status
        self._answer = answer

    def get(self, name: str, default: Any = None) -> Any:
        if name in self:
            return self[name]
        if name in _PARTS:
            self[name] = part = _PARTS[name](self._answer)
            return part
        return default


def _json_or_none(answer: Response) -> Any:
    try:
        return read_json(answer.body) if answer.body else None
    except ValueError:
        return None


_PARTS: Mapping[str, Callable[[Response], Any]] = {
    "headers": lambda answer: {name.lower().replace("-", "_"): value for name, value in answer.headers},
    "body": _json_or_none,
    "text": lambda answer: answer.body.decode("utf-8", "replace"),
}


def _by_rule(rule: OutcomeRule, answer: Response, names: Mapping[str, Any], polled: str | None) -> Classified:
    message = _message(rule.message, names)
    if rule.poll is not None:
        path = rule.poll(names) or polled
        if not isinstance(path, str) or not _POLL_PATH.fullmatch(path):
            return Classified(failure(Reason.UPSTREAM_GARBLED, "the answer names no path to poll"))
        return Classified(failure(Reason.UPSTREAM_TIMEOUT, message or "the upstream has not finished"), path)
    code = rule.code if rule.of is None else _look_up(rule, rule.of(names))
    outcome = _by_status(answer, message) if code is None else _by_code(code, message, answer)
    if rule.on_failure is not None and not outcome.ok:
        outcome = replace(outcome, on_failure=rule.on_failure)
    return Classified(outcome, entries=() if rule.rejected is None else _entries(rule.rejected, names))


def _entries(rule: RejectedItemsRule, names: Mapping[str, Any]) -> tuple[RejectedEntry, ...]:
    found = rule.each(names)
    entries = []
    for element in found if isinstance(found, list) else ():
        index = None if rule.index is None else rule.index(element)
        if rule.index is not None and (not isinstance(index, int) or isinstance(index, bool)):
            index = -1  # matches no item
        same = None if rule.same is None else rule.same(element)
        entries.append(RejectedEntry(index, same, _message(rule.message, element)))
    return tuple(entries)


def _look_up(rule: OutcomeRule, value: Any) -> Code | None:
    """Look a value up in the rule's `codes`."""
    if value is None or isinstance(value, dict | list):
        return None
    word = str(value).lower() if isinstance(value, bool) else str(value)
    if word in rule.exact:
        return rule.exact[word]
    return next((code for prefix, code in rule.prefixes if word.startswith(prefix)), None)


def _by_status(answer: Response, message: str) -> Outcome:
    """Classify by the HTTP status alone. Without a rule that says so, no status is a success, not even 2xx."""
    status = answer.status
    other = Code.INVALID_ARGUMENT if 400 <= status <= 499 else Code.UNAVAILABLE if status >= 500 else Code.INTERNAL
    code = _CODE_OF_STATUS.get(status, other)
    if code is Code.INTERNAL and status < 500:
        message = message or f"the answer was not understood (status {status})"
    return _by_code(code, message, answer)


def _by_code(code: Code, message: str, answer: Response) -> Outcome:
    if code is Code.OK:
        return Outcome(code)
    # Retry-After in seconds (RFC 9110, section 10.2.3); a date is ignored.
    wait = next((value for name, value in answer.headers if name.lower() == "retry-after"), "")
    retry_after_s = float(wait) if wait.isascii() and wait.isdigit() and len(wait) < 7 else None
    message = message or f"the upstream answered with status {answer.status}"
    return Outcome(code, _UPSTREAM[code][0], message, retry_after_s=retry_after_s)


def _message(expression: Expression | None, names: Any) -> str:
    value = expression(names) if expression is not None else None
    return value[:MAX_MESSAGE_CHARS] if isinstance(value, str) else ""
