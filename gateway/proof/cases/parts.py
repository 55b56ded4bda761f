"""Converts the parts of a case (calls, answers, outcomes, replies) to and from plain data, and compares them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gateway.core.http.json import read_json, write_json
from gateway.core.http.received import as_map
from gateway.core.http.request import Response
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.errors import GatewayError
from gateway.core.outcome.outcome import Code, Outcome, Reason, RejectedItem


class Mismatch(Exception):
    """A case cannot continue: a stage failed unexpectedly, or a part of the case is invalid."""


@contextmanager
def stage(part: str) -> Iterator[None]:
    """Raise Mismatch for an error of the stage that this part of the case needs."""
    try:
        yield
    except GatewayError as error:
        raise Mismatch(f"{part}: {error.outcome.message}") from error


def request_parts(request: UnsignedRequest) -> dict[str, Any]:
    parts: dict[str, Any] = {
        "method": request.method,
        "url": f"{request.scheme}://{request.host}",
        "path": request.path,
        "query": dict(request.query),
        "headers": {name.lower(): value for name, value in request.headers},
    }
    if request.body_kind != "none":
        parts[request.body_kind] = as_map(list(request.body)) if request.body_kind == "form" else request.body
    return parts


def response_of(parts: Mapping[str, Any]) -> Response:
    body = write_json(parts["json"]) if "json" in parts else str(parts.get("text", "")).encode()
    headers = tuple((name, str(value)) for name, value in parts.get("headers", {}).items())
    return Response(int(parts.get("status", 200)), headers, body)


def response_parts(response: Response) -> dict[str, Any]:
    try:
        json = read_json(response.body)
    except ValueError:
        json = None
    headers = {name.lower(): value for name, value in response.headers}
    return {
        "status": response.status,
        "headers": headers,
        "text": response.body.decode("utf-8", "replace"),
        "json": json,
    }


def outcome_of(parts: Mapping[str, Any]) -> Outcome:
    try:
        reason = Reason(parts["reason"]) if "reason" in parts else None
        code = Code(parts["code"]) if "code" in parts else reason.code if reason else Code.OK
        rejected = tuple(
            RejectedItem(item["index"], Reason(item["reason"]), item.get("message", ""), item.get("item"))
            for item in parts.get("rejected", ())
        )
    except (KeyError, ValueError) as error:
        raise Mismatch(f"outcome: {error}") from error
    message, accepted = parts.get("message", ""), parts.get("accepted", 0)
    return Outcome(code, reason, message, accepted, rejected, retry_after_s=parts.get("retry_after_s"))


def differences(expected: Any, made: Any, path: str) -> Iterator[str]:
    """Yield each difference. The result may have additional members in maps, but not in lists; null means absent."""
    if isinstance(expected, Mapping):
        if not isinstance(made, Mapping):
            yield f"{path}: expected a map, got {_shown(made)}"
            return
        for name, value in expected.items():
            yield from differences(value, made.get(name), f"{path}.{name}")
    elif isinstance(expected, list):
        if not isinstance(made, list) or len(made) != len(expected):
            count = f"{len(made)} items" if isinstance(made, list) else _shown(made)
            yield f"{path}: expected {len(expected)} items, got {count}"
            return
        for index, (value, other) in enumerate(zip(expected, made, strict=True)):
            yield from differences(value, other, f"{path}[{index}]")
    elif expected != made or isinstance(expected, bool) != isinstance(made, bool):
        yield f"{path}: expected {_shown(expected)}, got {_shown(made)}"


def _shown(value: Any) -> str:
    text = "nothing" if value is None else write_json(value).decode()
    return text if len(text) <= 200 else text[:200] + "…"
