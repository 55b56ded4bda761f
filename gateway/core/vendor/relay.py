"""Relayed requests: build the upstream request, and filter the headers of its answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.expression import EvaluationError
from gateway.core.http.request import Headers, Response, without_headers
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.classify import classify
from gateway.core.outcome.errors import CallerError, SpecError
from gateway.core.outcome.outcome import Outcome, Reason
from gateway.core.recipe.verify import Verified
from gateway.core.sending.encode import build_request
from gateway.core.vendor.route import Target
from gateway.core.vendor.routing import RouteMatch

# Headers of a single connection (RFC 9110, section 7.6.1), and those that framing sets.
_HOP_BY_HOP = frozenset(
    {"connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)


@dataclass(frozen=True, slots=True)
class RelayedRequest:
    """A verified request and the upstream request that replaces it. `names` are the variables of its expressions."""

    caller: Verified
    names: Mapping[str, Any]
    request: UnsignedRequest


def relayed_request(match: RouteMatch, names: Mapping[str, Any], *, now_ns: int, call_id: str) -> UnsignedRequest:
    """Build the upstream request. Raises CallerError or SpecError.

    `given` has the values of the route's target, then those of the path, then the defaults of the target's provider.
    """
    target = match.route.target
    captured = {name: value for name, value in match.captured.items() if name not in target.stated}
    own = {"given": {**target.given, **captured}, "now_ns": now_ns, "call_id": call_id}
    try:
        return build_request(target.form, target.url, {**names, **own})
    except EvaluationError as error:
        # The expressions read only the request: it is the request that does not fit.
        raise CallerError.of(Reason.BAD_FIELD, f"the request cannot be passed on: {error.cause}") from error
    except ValueError as error:
        raise SpecError.of(Reason.INTERNAL, f"{target.provider.name}: {error}") from error


def outcome_of_relayed(target: Target, status: int, headers: Headers) -> Outcome:
    """Classify an answer by its head, for logs and metrics. The client receives the answer unchanged."""
    return classify(target.send.outcome, Response(status, headers), {}).outcome


def passed_headers(headers: Headers, request_id: str) -> Headers:
    """Return an answer's end-to-end headers with the gateway's request id."""
    named = {name.strip().lower() for key, value in headers if key.lower() == "connection" for name in value.split(",")}
    return (*without_headers(headers, *_HOP_BY_HOP, *named, "x-request-id"), ("X-Request-Id", request_id))
