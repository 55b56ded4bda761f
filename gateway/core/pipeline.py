"""The stages of receiving a request and of planning its calls, in order.

    verify_head         identify the caller before the body is read, if the recipe does not read the body
    receive_report      identify the caller, parse, apply `reject_report`, decode items, apply rules and changes
    receive_relayed     identify the caller, parse, apply `reject_report`, build the upstream request
    answer_local_call   identify the caller, parse, issue or revoke a session, build the reply
    plan_calls          group items, build calls, split calls that are too large
    plan_declarations   find combinations that are not declared yet, build the calls that declare them

A stage raises CallerError or SpecError; later stages do not run. Functions named `..._steps` are generators, which let
the caller interleave other work (see `steps.py`). In direct delivery, `delivery/dispatch.py` coalesces the groups of
several reports between `group_items` and `encode_group`. The stages of one call, from signing to classifying the
answer, are in `delivery/call.py`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gateway.core.context import AcceptedReport, RequestContext
from gateway.core.expression import EvaluationError
from gateway.core.http.received import ReceivedRequest, as_map
from gateway.core.http.request import Response
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason, RejectedItem
from gateway.core.outcome.reply import build_local_reply
from gateway.core.points.changes import change_items
from gateway.core.points.decode import Item, apply_reject_rules, count_ignored, decode_items, rejection_of_report
from gateway.core.recipe.verify import VerificationFailed, Verified, Verifier, verify
from gateway.core.sending.declare import DeclaringCall, declaration_keys, declaring_calls
from gateway.core.sending.encode import Call, EncodeContext, Encoded, encode_group, group_items
from gateway.core.steps import Steps, finish
from gateway.core.vendor.local_calls import issue_session, revoke_session
from gateway.core.vendor.provider import LocalCall
from gateway.core.vendor.relay import RelayedRequest, relayed_request
from gateway.core.vendor.route import Source, Target
from gateway.core.vendor.routing import RouteMatch

ANONYMOUS = Verified("none", None, {})
# Parsing a larger or a compressed body may take long.
LARGE_BODY_BYTES = 32_768


def receive_report_steps(match: RouteMatch, message: ReceivedRequest, context: RequestContext) -> Steps[AcceptedReport]:
    """Turn a request into data points for the route's targets. A small report takes no steps.

    Raises CallerError or SpecError.
    """
    route, receive, now_ns = match.route, match.route.source.receive, context.now_ns
    caller = identify_caller(route.source, route.source.verifiers, message, context)
    if len(message.request.body) > LARGE_BODY_BYTES or message.is_encoded:
        yield True
    names = request_names(match, message, caller)
    apply_reject_rules(receive.reject_report, names)
    decoded, rejected = yield from decode_items(receive, names, now_ns=now_ns)
    ignored = count_ignored(receive, names["body"], decoded, rejected)
    items, unfit, dropped = yield from change_items(route, route.target, decoded, now_ns)
    if unfit:
        rejected = sorted([*rejected, *unfit], key=lambda item: item.index)
    if rejected and (receive.on_bad_item == "reject_report" or (not items and not dropped)):
        raise CallerError(rejection_of_report(rejected))
    mirrored = {}
    if route.mirrors:
        unfit_indices = {item.index for item in unfit}
        fit = [item for item in decoded if item.index not in unfit_indices]
        for mirror in route.mirrors:
            kept, _, _ = yield from change_items(route, mirror, fit, now_ns)
            mirrored[mirror.name] = tuple(kept)
    return AcceptedReport(caller, tuple(items), tuple(rejected), dropped, names, ignored, mirrored, context.peer)


def receive_report(match: RouteMatch, message: ReceivedRequest, context: RequestContext) -> AcceptedReport:
    """Run all steps of `receive_report_steps`."""
    return finish(receive_report_steps(match, message, context))


def receive_relayed(
    match: RouteMatch, message: ReceivedRequest, context: RequestContext, *, call_id: str
) -> RelayedRequest:
    """Turn a request of a relay into the upstream request. Raises CallerError or SpecError."""
    source = match.route.source
    caller = identify_caller(source, source.verifiers, message, context)
    names = request_names(match, message, caller)
    apply_reject_rules(source.receive.reject_report, names)
    request = relayed_request(match, names, now_ns=context.now_ns, call_id=call_id)
    return RelayedRequest(caller, names, request)


def answer_local_call(
    match: RouteMatch, call: LocalCall, message: ReceivedRequest, context: RequestContext
) -> Response:
    """Answer a call that needs no upstream, such as login and logout. Raises CallerError."""
    source = match.route.source
    verifiers = source.local_verifiers[match.form.name if match.form else ""]
    caller = identify_caller(source, verifiers, message, context)
    names = request_names(match, message, caller) | {"request_id": context.request_id}
    token, expires_ns = issue_session(source, call, caller, context) if call.issues is not None else (None, None)
    if call.ends is not None:
        revoke_session(source, call.ends, match.captured.get("token", ""), context)
    return build_local_reply(call.reply, {**names, "token": token, "expires_ns": expires_ns}, context.request_id)


def plan_calls_steps(target: Target, items: Sequence[Item], context: EncodeContext) -> Steps[Encoded]:
    """Build the unsigned calls that carry these items. Raises SpecError."""
    calls: list[Call] = []
    rejected: list[RejectedItem] = []
    groups = yield from group_items(target, items, now_ns=context.now_ns)
    for group in groups:
        encoded = yield from encode_group(target, group, context)
        calls += encoded.calls
        rejected += encoded.rejected
    return Encoded(tuple(calls), tuple(rejected))


def plan_calls(target: Target, items: Sequence[Item], context: EncodeContext) -> Encoded:
    """Run all steps of `plan_calls_steps`."""
    return finish(plan_calls_steps(target, items, context))


def plan_declarations(
    target: Target, calls: Iterable[Call], context: EncodeContext
) -> Iterator[tuple[Call, list[DeclaringCall]]]:
    """Yield each call with the declaring calls that must precede it, for an upstream without any declaration."""
    declared: set[bytes] = set()
    for call in calls:
        new = {key: item for key, item in declaration_keys(target, call.items).items() if key not in declared}
        declared |= new.keys()
        yield call, declaring_calls(target, new, context)


def verify_head(match: RouteMatch, head: ReceivedRequest, context: RequestContext) -> Verified | None:
    """Verify a request before its body is read.

    Returns None for a local call and for a route without credentials. Raises CallerError, and BodyNeeded if the recipe
    reads the body.
    """
    source = match.route.source
    if match.form is None or match.form.local_call is not None or source.verifiers is None:
        return None
    return identify_caller(source, source.verifiers, head, context)


def identify_caller(
    source: Source, verifiers: Sequence[Verifier] | None, message: ReceivedRequest, context: RequestContext
) -> Verified:
    """Check the caller's address and credentials, unless its head is verified. Raises CallerError.

    None for `verifiers` accepts any caller; an empty sequence rejects every caller.
    """
    if context.caller is not None:
        return context.caller
    if context.peer is not None and not source.admits(context.peer):
        raise CallerError.of(Reason.NOT_ALLOWED, "reports may not come from this address")
    if verifiers is None:
        return ANONYMOUS
    signed = message if source.public_url is None else message.as_sent_to(source.public_url)
    return verify(signed, verifiers, now_ns=context.now_ns, replays=context.replays)


def request_names(match: RouteMatch, message: ReceivedRequest, caller: Verified) -> dict[str, Any]:
    """Return the variables of expressions about a request. Raises CallerError if the request cannot be parsed."""
    given = match.route.source.given
    if match.captured or caller.slots:
        given = {**given, **match.captured, **caller.slots}
    read, index = match.route.source.receive.headers, message.request.header_index
    if read is None:
        headers = message.headers
    else:
        headers = {name: ", ".join(index[header]) for name, header in read.items() if header in index}
    names = {
        "query": as_map(message.query) if message.request.query else {},
        "headers": headers,
        "given": given,
        "request": match.form.name if match.form else None,
        "recipe": caller.recipe,
        "key": caller.key,
        "body": message.body,
    }
    if match.form is not None and match.form.input is not None:
        try:
            names["body"] = match.form.input(names)
        except EvaluationError as error:
            raise CallerError.of(Reason.BAD_FIELD, f"the request cannot be read: {error.cause}") from error
    return names


def reply_names(match: RouteMatch, message: ReceivedRequest, error: Exception | None = None) -> dict[str, Any]:
    """Return the variables of the reply to a request that failed at any stage.

    Parts that no stage has parsed are null: an unverified client must not cause the cost of parsing them.
    """
    claimed = error if isinstance(error, VerificationFailed) else None
    caller = Verified(claimed.recipe, claimed.key, {}) if claimed else ANONYMOUS
    parsed = vars(message)
    return {
        "body": parsed.get("body"),
        "query": as_map(message.query) if "query" in parsed else {},
        "headers": message.headers,
        "given": {**match.route.source.given, **match.captured},
        "request": match.form.name if match.form else None,
        "recipe": caller.recipe,
        "key": caller.key,
    }
