"""A call that is no report: from the received request to the one that takes its place, and the answer on its way."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.expression import EvaluationError
from gateway.core.http.received import Message
from gateway.core.http.request import Headers, Response
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.classify import classify
from gateway.core.outcome.errors import CallerError, SpecError
from gateway.core.outcome.outcome import Outcome, Reason
from gateway.core.pipeline import admit
from gateway.core.recipe.verify import ReplayMemory, Verified
from gateway.core.sending.encode import build_request
from gateway.core.vendor.route import Target
from gateway.core.vendor.routing import RouteMatch

# RFC 9110, section 7.6.1: these speak of one connection, as do those that `Connection` names. Trailers are not passed
# on, and the length is framed anew.
_HOP_BY_HOP = frozenset(
    {"connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)


@dataclass(frozen=True, slots=True)
class RelayedRequest:
    """A request that was admitted, and the call, not yet signed, that takes its place.

    `names` are what expressions about the request see.
    """

    caller: Verified
    names: Mapping[str, Any]
    request: UnsignedRequest


def receive_relayed(
    match: RouteMatch,
    message: Message,
    *,
    now_ns: int,
    call_id: str,
    replays: ReplayMemory,
    peer: str | None = None,
    caller: Verified | None = None,
) -> RelayedRequest:
    """Verify a request and build the call that takes its place. Raises CallerError or SpecError.

    In the call, `given` are those that the route states for its target, then what the path captured, then the defaults
    of the target's provider. `caller` is the result of `verify_head`.
    """
    caller, names = admit(match, message, now_ns=now_ns, replays=replays, peer=peer, caller=caller)
    target = match.route.target
    captured = {name: value for name, value in match.captured.items() if name not in target.stated}
    own = {"given": {**target.given, **captured}, "now_ns": now_ns, "call_id": call_id}
    try:
        draft = build_request(target.form, target.url, {**names, **own})
    except EvaluationError as error:
        # All that the expression sees is the request, so that it is the request which does not fit.
        raise CallerError.of(Reason.BAD_FIELD, f"the request cannot be passed on: {error.cause}") from error
    except ValueError as error:
        raise SpecError.of(Reason.INTERNAL, f"{target.provider.name}: {error}") from error
    return RelayedRequest(caller, names, draft)


def outcome_of_relayed(target: Target, status: int, headers: Headers) -> Outcome:
    """Return what an answer means for log and metrics, in B's own terms; the caller gets the answer itself."""
    return classify(target.send.outcome, Response(status, headers), {}).outcome


def passed_headers(headers: Headers, request_id: str) -> Headers:
    """Return the headers of an answer that go on to the caller, with our own request id."""
    named = {name.strip().lower() for key, value in headers if key.lower() == "connection" for name in value.split(",")}
    dropped = _HOP_BY_HOP | named | {"x-request-id"}
    kept = tuple(header for header in headers if header[0].lower() not in dropped)
    return (*kept, ("X-Request-Id", request_id))
