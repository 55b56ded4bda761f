"""The parts of a case: calls, answers, outcomes and replies as plain data, and back."""

from collections.abc import Mapping
from typing import Any

from gateway.core.http.json import read_json, write_json
from gateway.core.http.received import as_map
from gateway.core.http.request import Response
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.classify import Classified
from gateway.core.outcome.outcome import CODE_OF, Code, Outcome, Reason, RejectedItem


class Mismatch(Exception):
    """A case cannot go on: a stage failed where the case expects it to work, or a part of the case is no good."""


def draft_parts(draft: UnsignedRequest) -> dict[str, Any]:
    parts: dict[str, Any] = {
        "method": draft.method,
        "url": f"{draft.scheme}://{draft.host}",
        "path": draft.path,
        "query": dict(draft.query),
        "headers": {name.lower(): value for name, value in draft.headers},
    }
    if draft.body_kind != "none":
        parts[draft.body_kind] = as_map(list(draft.body)) if draft.body_kind == "form" else draft.body
    return parts


def stated_response(parts: Mapping[str, Any]) -> Response:
    body = write_json(parts["json"]) if "json" in parts else str(parts.get("text", "")).encode()
    headers = tuple((name, str(value)) for name, value in parts.get("headers", {}).items())
    return Response(int(parts.get("status", 200)), headers, body)


def response_parts(response: Response) -> dict[str, Any]:
    parts: dict[str, Any] = {
        "status": response.status,
        "headers": {name.lower(): value for name, value in response.headers},
        "text": response.body.decode("utf-8", "replace"),
    }
    try:
        parts["json"] = read_json(response.body)
    except ValueError:
        parts["json"] = None
    return parts


def judged_parts(judged: Classified) -> dict[str, Any]:
    """Return an answer's own outcome, the items as it names them, and where to poll."""
    named = [{"index": each.index, "same": each.same, "message": each.message} for each in judged.entries]
    return judged.outcome.as_mapping() | {"rejected": named, "poll": judged.poll}


def stated_outcome(stated: Mapping[str, Any]) -> Outcome:
    try:
        reason = Reason(stated["reason"]) if "reason" in stated else None
        code = Code(stated["code"]) if "code" in stated else CODE_OF[reason] if reason else Code.OK
        rejected = tuple(
            RejectedItem(each["index"], Reason(each["reason"]), each.get("message", ""), each.get("item"))
            for each in stated.get("rejected", ())
        )
    except (KeyError, ValueError) as error:
        raise Mismatch(f"outcome: {error}") from error
    message, accepted = stated.get("message", ""), stated.get("accepted", 0)
    return Outcome(code, reason, message, accepted, rejected, retry_after_s=stated.get("retry_after_s"))
