"""Build the reply to a reporter from an outcome, in the dialect of its vendor."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any, NoReturn

from gateway.core.expression import EvaluationError
from gateway.core.http.json import write_json
from gateway.core.http.request import Headers, Response
from gateway.core.outcome.outcome import Code, Outcome, Reason, failure
from gateway.core.vendor.provider import ErrorRow, Replies, Shape

JSON = ("Content-Type", "application/json")
# A reply lists at most this many rejected items. No vendor accepts as many in one report.
MAX_LISTED_ITEMS = 1000
# The names of a request that has not been parsed.
_NO_NAMES: Mapping[str, Any] = {
    **dict.fromkeys(("body", "request", "recipe", "key")),
    **{name: {} for name in ("query", "headers", "given")},
}
_FAILURES = (EvaluationError, ValueError, TypeError)


class _NameRead(Exception):
    """An expression has read a variable."""


def _read(*_: Any) -> NoReturn:
    raise _NameRead


class _Unreadable(Mapping[str, Any]):
    """Variables that no expression can read."""

    __getitem__ = __iter__ = __len__ = _read


def build_reply(replies: Replies | None, outcome: Outcome, names: Mapping[str, Any]) -> Response:
    """Build the reply. It is plain JSON if the provider describes none.

    If an expression fails, the reply reports that as an internal error in the vendor's dialect; if that fails too, it
    is plain JSON.
    """
    if replies is not None:
        try:
            return _with_common_headers(_in_dialect(replies, outcome, names), outcome)
        except _FAILURES:
            outcome = _cannot_build(outcome.request_id)
        with suppress(*_FAILURES):
            return _with_common_headers(_in_dialect(replies, outcome, _NO_NAMES), outcome)
    return _with_common_headers(plain_reply(outcome), outcome)


def build_local_reply(shapes: Sequence[Shape], names: Mapping[str, Any], request_id: str) -> Response:
    """Build the reply to a local call."""
    outcome = Outcome(Code.OK, request_id=request_id)
    try:
        return _with_common_headers(_rendered(_chosen(shapes, names), names), outcome)
    except _FAILURES:
        outcome = _cannot_build(request_id)
        return _with_common_headers(plain_reply(outcome), outcome)


def plain_reply(outcome: Outcome) -> Response:
    """Return a short JSON reply in no vendor's dialect."""
    body = {"code": outcome.code, "reason": outcome.reason, "message": outcome.message}
    if outcome.request_id:
        body["request_id"] = outcome.request_id
    content = {name: value for name, value in body.items() if value}
    return Response(outcome.code.status, (JSON,), write_json(content))


def _cannot_build(request_id: str) -> Outcome:
    return replace(failure(Reason.INTERNAL, "the reply could not be built"), request_id=request_id)


def _in_dialect(replies: Replies, outcome: Outcome, names: Mapping[str, Any]) -> Response:
    if outcome.ok and (constant := _constant_reply(replies.ok)) is not None:
        return constant
    names = {**names, **outcome.as_mapping(MAX_LISTED_ITEMS)}
    if outcome.ok:
        return _rendered(_chosen(replies.ok, names), names)
    row = _error_row(replies, outcome, names)
    names["error"] = dict(row.words) if row else {}
    if outcome.reason is Reason.PARTIAL and replies.partial:
        return _rendered(_chosen(replies.partial, names), names)
    return _rendered(_merged(_chosen(replies.error, names), row), names)


@lru_cache(maxsize=256)
def _constant_reply(shapes: tuple[Shape, ...]) -> Response | None:
    """Return the reply if its expressions read no variable: it is then rendered once."""
    try:
        return _rendered(_chosen(shapes, _Unreadable()), _Unreadable())
    except (_NameRead, *_FAILURES):
        return None


def _error_row(replies: Replies, outcome: Outcome, names: Mapping[str, Any]) -> ErrorRow | None:
    for key in (outcome.reason, outcome.code, "default"):
        for row in replies.errors.get(key or "", ()):
            if row.when is None or row.when(names):
                return row
    return None


def _chosen(shapes: Sequence[Shape], names: Mapping[str, Any]) -> Shape:
    for shape in shapes:
        if shape.when is None or shape.when(names):
            return shape
    raise ValueError("no shape of the reply matches")


def _merged(shape: Shape, row: ErrorRow | None) -> Shape:
    """Return the shape with the fields that the row overrides."""
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


def _rendered(shape: Shape, names: Mapping[str, Any]) -> Response:
    status = 200 if shape.status is None else shape.status(names)
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError(f"{status!r} is not a status")
    # Line breaks in a value would allow header injection.
    headers: Headers = tuple(
        [(name, " ".join(value.splitlines())) for name, text in shape.headers if (value := text(names)) is not None]
    )
    if shape.json is not None:
        content_type, body = JSON[1], write_json(shape.json(names))
    elif shape.text is not None:
        content_type, body = "text/plain; charset=utf-8", (shape.text(names) or "").encode("utf-8", "replace")
    else:
        return Response(status, headers)
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers = (*headers, ("Content-Type", content_type))
    return Response(status, headers, body)


def _with_common_headers(response: Response, outcome: Outcome) -> Response:
    headers = response.headers
    if outcome.retry_after_s is not None and outcome.code is not Code.OK:
        headers = (*headers, ("Retry-After", str(max(1, round(outcome.retry_after_s)))))
    if response.status == 405 and outcome.allow:
        headers = (*headers, ("Allow", ", ".join(outcome.allow)))  # RFC 9110, section 15.5.6
    if outcome.request_id:
        headers = (*headers, ("X-Request-Id", outcome.request_id))
    return Response(response.status, headers, response.body)
