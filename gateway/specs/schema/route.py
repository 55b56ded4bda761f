"""The keys of a route: its two sides, and what happens to data points between them and is lost."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.core.expression import Expression
from gateway.core.expression.compiler import KeyPath
from gateway.core.points.point import STATISTICS
from gateway.core.vendor.provider import Provider
from gateway.core.vendor.route import PointChanges, Route, Source, Target
from gateway.proof.loss import IDENTITY, route_loss
from gateway.proof.probe import ProbeFailed
from gateway.specs.binding import types as t
from gateway.specs.binding.place import Place, Scope
from gateway.specs.binding.table import Key, Table, optional, read_document
from gateway.specs.schema.cases import CASES
from gateway.specs.schema.provider import attributes_read, check_sides
from gateway.specs.schema.rules import FIELDS, POINT
from gateway.specs.schema.source import SOURCE
from gateway.specs.schema.target import DELIVERY, DIRECT, MIRROR, TARGET, check_poll
from gateway.specs.yaml.document import Document
from gateway.specs.yaml.nodes import Node


def build_route(
    document: Document, node: Node, providers: Mapping[str, Provider]
) -> tuple[Route, frozenset[str]] | None:
    """Return the route and the attributes that it reads, or None when the document has errors; they are reported.

    `node` is that of the document with its variables replaced.
    """
    scope = Scope(document, providers=providers)
    route = read_document(ROUTE, Place(scope, node))
    return route and (route, attributes_read(scope.compiler))


def _read_members(place: Place) -> tuple[tuple[str, Expression], ...]:
    sources = t.map_of(t.ANYTHING, FIELDS).read(place)
    return tuple(place.scope.compiler.members(sources, place.names, place.path).items())


SET = t.Plain("map of expression", _read_members, t.map_of(t.EXPRESSION, FIELDS).json)
POINTS = Table(
    "route.points",
    PointChanges,
    optional("keep", t.EXPRESSION, "data points for which it is false are dropped", sees=lambda at: POINT),
    optional("set", SET, "new values of fields", (), sees=lambda at: POINT),
    optional("stats", t.word(STATISTICS), "the statistic that becomes the value"),
    optional("allow_loss", t.list_of(t.word(FIELDS)), "fields that may be lost, see [loss](#loss)", ()),
)


def _route(
    at: Place,
    route: str,
    receive: Source,
    send: Target,
    points: PointChanges,
    delivery: Mapping[str, Any],
    mirrors: Sequence[Target],
    cases: Any,
) -> Route:
    target = send if delivery == DIRECT else replace(send, **delivery)
    names = [target.name, *(mirror.name for mirror in mirrors)]
    for index, name in enumerate(names[1:]):
        if name in names[: index + 1]:
            at.error(f"another target of this route is named {name!r}", "", "mirrors", index, "mirror")
    check_poll(at, target)
    check_sides(at.scope.document, receive.provider, target.provider)
    if receive.provider.relay and target.provider.relay and target.queued:
        at.error("a route between relays is direct: its caller waits for the answer", "", "delivery", "mode")
    built = Route(name=route, source=receive, target=target, points=points, mirrors=tuple(mirrors))
    first, *rest = (replace(each, secrets=built.secrets) for each in built.targets)
    return replace(built, target=first, mirrors=tuple(rest))


ROUTE = Table(
    "route",
    _route,
    Key("route", t.NAME, "the name"),
    Key("receive", SOURCE, "the provider whose reports are received"),
    Key("send", TARGET, "the provider that they are sent to"),
    optional("points", POINTS, "changes to data points", PointChanges()),
    optional("delivery", DELIVERY, "how data points are delivered", DIRECT),
    optional("mirrors", t.list_of(MIRROR), "further targets, see [delivery and the queue](delivery-and-queue.md)", ()),
    optional("cases", CASES, "test cases, see [cases](#cases)", ()),
)


SPREAD = ("stats",)  # statistics become separate data points: nothing is lost


def check_loss(document: Document, route: Route, attribute_names: Collection[str]) -> None:
    """Report losses that `points.allow_loss` does not permit; merging series is an error.

    `attribute_names` are the attributes that the route's own expressions read.
    """
    if route.target.provider.relay:
        return
    targets: list[tuple[Target, KeyPath]] = [(route.target, ("send", "provider"))]
    targets += [(mirror, ("mirrors", index, "provider")) for index, mirror in enumerate(route.mirrors)]
    # Probes are not signed: without a credential, their targets are built faster.
    probed = [(replace(route, target=replace(each, credential=None)), place) for each, place in targets]
    found = [_check_target(document, each, attribute_names, place) for each, place in probed]
    for index, field in enumerate(route.points.allow_loss):
        if all(lost is not None and field not in lost for lost in found):
            document.note(("points", "allow_loss", index), f"{field} is not lost on this route", "leave it out")


def _check_target(
    document: Document, route: Route, attribute_names: Collection[str], place: KeyPath
) -> frozenset[str] | None:
    """Report what is lost towards one target, and return those fields; None if the loss is unknown."""
    name, allowed = route.target.provider.name, route.points.allow_loss
    if route.target.provider.receive is None:
        document.note(place, f"the losses towards {name} are unknown: it has no `receive` to read its calls with")
        return None
    try:
        loss = route_loss(route, attribute_names)
    except ProbeFailed as error:
        what = f"the losses towards {name} are unknown: its `receive` rejects the calls of its `send` ({error})"
        document.warning(place, what)
        return None
    unnamed = [each for each in loss.lost if each.field not in (*allowed, *SPREAD)]
    accepting = f"`points: {{allow_loss: [{', '.join([*allowed, *(each.field for each in unnamed)])}]}}`"
    merging = ", ".join(f"{each.field} ({each.what})" for each in unnamed if each.field in IDENTITY)
    others = ", ".join(f"{each.field} ({each.what})" for each in unnamed if each.field not in IDENTITY)
    if merging:
        what = f"{name} would merge series, because it loses {merging}"
        document.error(place, what, f"if this is acceptable, write {accepting}")
    if others:
        document.warning(place, f"{name} loses {others}", f"if this is acceptable, write {accepting}")
    for field in loss.missing:
        what = f"every data point would be rejected: {name} requires {field}, and no report has it"
        document.warning(place, what, f"set it: `points: {{set: {{{field}: …}}}}`")
    if route.target.queued and any(each.field == "time_ns" and each.whole for each in loss.lost):
        what = f"{name} stores data points with the time of delivery, which differs in queued mode"
        document.warning(place, what, "use `mode: direct`, or a rule for time_ns with `max_age_s`")
    return frozenset(each.field for each in loss.lost)
