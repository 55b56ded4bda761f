"""From a received request to data points that may go on: the stages of the receiving side, in their order."""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.core.expression import EvaluationError
from gateway.core.http.received import Message, as_map
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason, RejectedItem
from gateway.core.points.decode import (
    FIELD_READERS,
    Item,
    apply_reject_rules,
    count_ignored,
    decode_steps,
    rejection_of_report,
)
from gateway.core.points.point import DataPoint
from gateway.core.points.rules import Dropped, Rule, Violation, apply_rules
from gateway.core.points.statistics import spread_statistics
from gateway.core.recipe.verify import ReplayMemory, VerificationFailed, Verified, Verifier, verify
from gateway.core.steps import Steps, finish
from gateway.core.vendor.route import PointChanges, Route, Source, Target
from gateway.core.vendor.routing import RouteMatch

ANONYMOUS = Verified("none", None, {})
# Parsing a body of more, and one that is compressed, may take long.
LARGE_BODY_BYTES = 32_768


@dataclass(frozen=True, slots=True)
class AcceptedReport:
    """A report that was accepted: who sent it, its data points, the items refused, and how many were dropped.

    The data points of one item of the report share its index. `names` are what expressions about the request see,
    `ignored` counts the members that no mapping reads. `peer` is the sender's IP address.
    """

    caller: Verified
    items: tuple[Item, ...]
    rejected: tuple[RejectedItem, ...] = ()
    dropped: int = 0
    names: Mapping[str, Any] = field(default_factory=dict)
    ignored: int = 0
    mirrored: Mapping[str, tuple[Item, ...]] = field(default_factory=dict)
    peer: str | None = None

    @property
    def sender(self) -> Hashable:
        """The recipe, key id and peer address of the report."""
        return self.caller.recipe, self.caller.key, self.peer


def receive_report(
    match: RouteMatch, message: Message, *, now_ns: int, replays: ReplayMemory, peer: str | None = None
) -> AcceptedReport:
    """Do what `receive_report_steps` does, at once."""
    return finish(receive_report_steps(match, message, now_ns=now_ns, replays=replays, peer=peer))


def receive_report_steps(
    match: RouteMatch,
    message: Message,
    *,
    now_ns: int,
    replays: ReplayMemory,
    peer: str | None = None,
    caller: Verified | None = None,
) -> Steps[AcceptedReport]:
    """Verify a report, decode it, and hold it to the rules of both sides; a step for each item of the latter two.

    `peer` is the address that it came from; None leaves the route's networks unchecked. `caller` is the result of
    `verify_head`. Raises CallerError or SpecError.
    """
    source, receive = match.route.source, match.route.source.receive
    if caller is None:
        caller = identify_caller(source, source.checks, message, now_ns=now_ns, replays=replays, peer=peer)
    yield len(message.request.body) > LARGE_BODY_BYTES or message.request.header("content-encoding") is not None
    names = request_names(match, message, caller)
    apply_reject_rules(receive.reject_report, names)
    decoded, rejected = yield from decode_steps(receive, names, now_ns=now_ns)
    raw = [item.item for item in decoded] + [each.item for each in rejected]
    ignored = count_ignored(receive, names["body"], raw)
    items, refused, dropped = yield from _change(match.route, match.route.target, decoded, now_ns)
    rejected = sorted([*rejected, *refused], key=lambda each: each.index)
    if rejected and (receive.on_bad_item == "reject_report" or (not items and not dropped)):
        raise CallerError(rejection_of_report(rejected))
    mirrored = (yield from _mirrored(match.route, decoded, refused, now_ns)) if match.route.mirrors else {}
    return AcceptedReport(caller, tuple(items), tuple(rejected), dropped, names, ignored, mirrored, peer)


def admit(
    match: RouteMatch,
    message: Message,
    *,
    now_ns: int,
    replays: ReplayMemory,
    peer: str | None = None,
    caller: Verified | None = None,
) -> tuple[Verified, dict[str, Any]]:
    """Verify a request, read it, and hold it to what the provider refuses. Raises CallerError.

    `caller` is the result of `verify_head`. Returns who sent it, and the names that expressions about it see.
    """
    source = match.route.source
    if caller is None:
        caller = identify_caller(source, source.checks, message, now_ns=now_ns, replays=replays, peer=peer)
    names = request_names(match, message, caller)
    apply_reject_rules(source.receive.reject_report, names)
    return caller, names


def verify_head(match: RouteMatch, head: Message, *, now_ns: int, replays: ReplayMemory, peer: str) -> Verified | None:
    """Verify a request before its body is read.

    Returns None for a call that the gateway answers itself, and for a route without credentials. Raises CallerError,
    and BodyNeeded if the recipe reads the body.
    """
    source = match.route.source
    if match.form is None or match.form.local_call is not None or source.checks is None:
        return None
    return identify_caller(source, source.checks, head, now_ns=now_ns, replays=replays, peer=peer)


def identify_caller(
    source: Source,
    checks: Sequence[Verifier] | None,
    message: Message,
    *,
    now_ns: int,
    replays: ReplayMemory,
    peer: str | None,
) -> Verified:
    """Tell who sent a request; with None for checks, nobody is asked. Raises CallerError where it is refused.

    An empty sequence of checks refuses everyone.
    """
    if peer is not None and not source.admits(peer):
        raise CallerError.of(Reason.NOT_ALLOWED, "reports may not come from this address")
    if checks is None:
        return ANONYMOUS
    seen = message if source.public_url is None else message.as_sent_to(source.public_url)
    return verify(seen, checks, now_ns=now_ns, replays=replays)


def request_names(match: RouteMatch, message: Message, caller: Verified) -> dict[str, Any]:
    """Return the names that expressions about a received request see. Raises CallerError when it cannot be read."""
    names = _outer_names(match, message, caller) | {"body": message.body}
    if match.form is None or match.form.input is None:
        return names
    try:
        return names | {"body": match.form.input(names)}
    except EvaluationError as error:
        raise CallerError.of(Reason.BAD_FIELD, f"the request cannot be read: {error.cause}") from error


def reply_names(match: RouteMatch, message: Message, error: Exception | None = None) -> dict[str, Any]:
    """Return what a reply may read of a request that was refused; what nobody has read by now stays null.

    Nothing is read for the reply alone: the sender may be anyone, and the body be made to cost.
    """
    claimed = error if isinstance(error, VerificationFailed) else None
    caller = Verified(claimed.recipe, claimed.key, {}) if claimed else ANONYMOUS
    given = {**match.route.source.given, **match.captured}
    query = as_map(message.query) if "query" in vars(message) else {}
    body = vars(message).get("body")
    return {"body": body, "query": query, "headers": message.headers, "given": given, **_about(match, caller)}


def _outer_names(match: RouteMatch, message: Message, caller: Verified) -> dict[str, Any]:
    given = {**match.route.source.given, **match.captured, **caller.slots}
    return {"query": as_map(message.query), "headers": message.headers, "given": given, **_about(match, caller)}


def _about(match: RouteMatch, caller: Verified) -> dict[str, Any]:
    return {"request": match.form.name if match.form else None, "recipe": caller.recipe, "key": caller.key}


def _mirrored(
    route: Route, items: Sequence[Item], refused: Sequence[RejectedItem], now_ns: int
) -> Steps[dict[str, tuple[Item, ...]]]:
    """Return what each mirror gets of the items that are not refused: as much of them as it can hold."""
    lost = {each.index for each in refused}
    taken = [item for item in items if item.index not in lost]
    mirrored = {}
    for mirror in route.mirrors:
        kept, _, _ = yield from _change(route, mirror, taken, now_ns)
        mirrored[mirror.name] = tuple(kept)
    return mirrored


def _change(
    route: Route, target: Target, items: Iterable[Item], now_ns: int
) -> Steps[tuple[list[Item], list[RejectedItem], int]]:
    """Make of each item the points that go on: none where it is dropped, several where its statistics are spread."""
    kept: list[Item] = []
    rejected: list[RejectedItem] = []
    dropped = 0
    for item in items:
        yield False
        try:
            points = list(_points(route, target, item.point, now_ns))
        except Violation as error:
            rejected.append(RejectedItem(item.index, error.reason, error.message, item.item))
        else:
            kept += [replace(item, point=point) for point in points]
            dropped += not points
    return kept, rejected, dropped


def _points(route: Route, target: Target, point: DataPoint, now_ns: int) -> Iterator[DataPoint]:
    """Apply the source's rules, the route's own changes and the target's rules. Raises Violation."""
    try:
        changed = change_point(route.points, apply_rules(route.source.rules, point, now_ns=now_ns))
    except Dropped:
        return
    for each in spread_statistics(changed, route.points.stats, target.holds_stats) if changed else ():
        with suppress(Dropped):
            yield _held(target.rules, each, now_ns)


def change_point(changes: PointChanges, point: DataPoint) -> DataPoint | None:
    """Return the point as the route changes it; None when the route does not keep it. Raises Violation."""
    try:
        names = point.as_mapping()
        if changes.keep is not None and not changes.keep(names):
            return None
        new: Mapping[str, Any] = {
            name: FIELD_READERS[name](value) if (value := expression(names)) is not None else None
            for name, expression in changes.set
        }
    except (EvaluationError, ValueError) as error:
        raise Violation(Reason.BAD_FIELD, str(error)) from error
    changed = replace(point, **new)
    has_value = changed.value is not None or bool(changed.stats)
    has = {"metric": bool(changed.metric), "time_ns": changed.time_ns is not None, "value": has_value}
    for name, is_there in has.items():
        if not is_there:
            raise Violation(Reason.MISSING_FIELD, f"{name} is missing")
    return changed


def _held(rules: Iterable[Rule], point: DataPoint, now_ns: int) -> DataPoint:
    """Hold a point to the target's rules: what the reporter's vendor allows, the target may be unable to hold."""
    try:
        return apply_rules(rules, point, now_ns=now_ns)
    except Violation as error:
        reason = error.reason if error.reason is Reason.TOO_OLD else Reason.CANNOT_HOLD
        raise Violation(reason, f"the target cannot hold it: {error.message}") from error
