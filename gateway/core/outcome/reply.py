"""From an outcome to a reply in the reporter's dialect."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.core.expression import EvaluationError
from gateway.core.http.json import write_json
from gateway.core.http.request import Headers, Response
from gateway.core.outcome.outcome import HTTP_STATUS_OF, Code, Outcome, Reason, failure
from gateway.core.vendor.provider import ErrorRow, Replies, Shape

JSON = ("Content-Type", "application/json")
# How many rejected items a reply names: vendors take far fewer items in one report.
MAX_LISTED_ITEMS = 1000


def build_reply(replies: Replies | None, outcome: Outcome, names: Mapping[str, Any]) -> Response:
    """Build the reply. Where the provider has none, or its expressions fail, it is plain JSON by HTTP status."""
    if replies is None:
        return _with_common_headers(plain_reply(outcome), outcome)
    try:
        return _with_common_headers(_reply(replies, outcome, names), outcome)
    except (EvaluationError, ValueError, TypeError):
        return _of_last_resort(replies, outcome.request_id)


def _of_last_resort(replies: Replies, request_id: str) -> Response:
    """Say in the vendor's words that the reply could not be built; where even that fails, plainly."""
    broken = replace(failure(Reason.INTERNAL, "the reply could not be built"), request_id=request_id)
    names: dict[str, Any] = {
        "body": None,
        "query": {},
        "headers": {},
        "given": {},
        "request": None,
        "recipe": None,
        "key": None,
    }
    try:
        return _with_common_headers(_reply(replies, broken, names), broken)
    except (EvaluationError, ValueError, TypeError):
        return _with_common_headers(plain_reply(broken), broken)


def build_local_reply(shapes: Sequence[Shape], names: Mapping[str, Any], request_id: str) -> Response:
    """Build the reply to a call without data points."""
    outcome = Outcome(Code.OK, request_id=request_id)
    try:
        return _with_common_headers(_shaped(_chosen(shapes, names), names), outcome)
    except (EvaluationError, ValueError, TypeError):
        broken = replace(failure(Reason.INTERNAL, "the reply could not be built"), request_id=request_id)
        return _with_common_headers(plain_reply(broken), broken)


def plain_reply(outcome: Outcome) -> Response:
    """Return a short JSON reply that belongs to no vendor."""
    body = {"code": outcome.code, "reason": outcome.reason, "message": outcome.message}
    if outcome.request_id:
        body["request_id"] = outcome.request_id
    content = {name: value for name, value in body.items() if value}
    return Response(HTTP_STATUS_OF[outcome.code], (JSON,), write_json(content))


def _reply(replies: Replies, outcome: Outcome, names: Mapping[str, Any]) -> Response:
    names = {**names, **_outcome_names(outcome)}
    if outcome.ok:
        return _shaped(_chosen(replies.ok, names), names)
    row = _row(replies, outcome, names)
    names["error"] = dict(row.words) if row else {}
    if outcome.reason is Reason.PARTIAL and replies.partial:
        return _shaped(_chosen(replies.partial, names), names)
    return _shaped(_merged(_chosen(replies.error, names), row), names)


def _outcome_names(outcome: Outcome) -> dict[str, Any]:
    return {
        "code": str(outcome.code),
        "reason": str(outcome.reason) if outcome.reason else None,
        "message": outcome.message,
        "accepted": outcome.accepted,
        "rejected": [
            {"index": each.index, "item": each.item, "reason": str(each.reason), "message": each.message}
            for each in outcome.rejected[:MAX_LISTED_ITEMS]
        ],
        "request_id": outcome.request_id,
        "retry_after_s": outcome.retry_after_s,
    }


def _row(replies: Replies, outcome: Outcome, names: Mapping[str, Any]) -> ErrorRow | None:
    for key in (outcome.reason, outcome.code, "default"):
        for row in replies.errors.get(key or "", ()):
            if row.when is None or row.when(names):
                return row
    return None


def _chosen(shapes: Sequence[Shape], names: Mapping[str, Any]) -> Shape:
    for shape in shapes:
        if shape.when is None or shape.when(names):
            return shape
    raise ValueError("no form of the reply fits")


def _merged(shape: Shape, row: ErrorRow | None) -> Shape:
    if row is None:
        return shape
    status = row.status
    if status is not None:
        shape = replace(shape, status=lambda names: status)
    if row.headers is not None:
        shape = replace(shape, headers=row.headers)
    if row.json is not None or row.text is not None:
        shape = replace(shape, json=row.json, text=row.text)
    return shape


def _shaped(shape: Shape, names: Mapping[str, Any]) -> Response:
    status = shape.status(names)
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError(f"{status!r} is not a status")
    headers = tuple((name, value) for name, text in shape.headers if (value := text(names)) is not None)
    if shape.json is not None:
        return Response(status, _typed(headers, JSON[1]), write_json(shape.json(names)))
    if shape.text is not None:
        body = (shape.text(names) or "").encode("utf-8", "replace")
        return Response(status, _typed(headers, "text/plain; charset=utf-8"), body)
    return Response(status, headers)


def _typed(headers: Headers, content_type: str) -> Headers:
    has_one = any(name.lower() == "content-type" for name, _ in headers)
    return headers if has_one else (*headers, ("Content-Type", content_type))


def _with_common_headers(response: Response, outcome: Outcome) -> Response:
    headers = response.headers
    if outcome.request_id:
        headers = (*headers, ("X-Request-Id", outcome.request_id))
    if outcome.retry_after_s is not None and outcome.code is not Code.OK:
        headers = (*headers, ("Retry-After", str(max(1, round(outcome.retry_after_s)))))
    if response.status == 405 and outcome.allow:
        headers = (*headers, ("Allow", ", ".join(outcome.allow)))  # RFC 9110, section 15.5.6
    # A line break in a value would let whoever filled it in write headers of their own.
    safe = tuple((name, " ".join(value.splitlines())) for name, value in headers)
    return replace(response, headers=safe)
