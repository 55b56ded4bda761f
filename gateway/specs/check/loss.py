"""Reports what is lost on a route. A loss that would merge series is an error unless the route allows it."""

from collections.abc import Collection, Iterable
from dataclasses import replace

from gateway.core.expression.compiler import KeyPath
from gateway.core.vendor.route import Route, Target
from gateway.proof.loss import IDENTITY, FieldLoss, route_loss
from gateway.proof.probe import ProbeFailed
from gateway.specs.yaml.document import Document

SEND: KeyPath = ("send", "provider")
ALLOW_LOSS: KeyPath = ("points", "allow_loss")
SPREAD = ("stats",)  # statistics become separate data points: nothing is lost


def check_loss(document: Document, route: Route, attribute_names: Collection[str]) -> None:
    """Report losses that `points.allow_loss` does not permit; merging series is an error.

    `attribute_names` are the attributes that the route's own expressions read.
    """
    if route.target.provider.relay:
        return
    targets: list[tuple[Target, KeyPath]] = [(route.target, SEND)]
    targets += [(mirror, ("mirrors", index, "provider")) for index, mirror in enumerate(route.mirrors)]
    found = [_check_target(document, replace(route, target=each), attribute_names, at) for each, at in targets]
    if any(lost is None for lost in found):
        return
    for index, field in enumerate(route.points.allow_loss):
        if not any(field in lost for lost in found if lost is not None):
            document.note((*ALLOW_LOSS, index), f"{field} is not lost on this route", "leave it out")


def _check_target(
    document: Document, route: Route, attribute_names: Collection[str], place: KeyPath
) -> frozenset[str] | None:
    """Report what is lost towards one target, and return those fields; None if the loss is unknown."""
    provider = route.target.provider
    if provider.receive is None:
        what = f"the losses towards {provider.name} are unknown: it has no `receive` to read its calls with"
        document.note(place, what)
        return None
    try:
        loss = route_loss(route, attribute_names)
    except ProbeFailed as error:
        what = (
            f"the losses towards {provider.name} are unknown: its `receive` rejects the calls of its `send` ({error})"
        )
        document.warning(place, what)
        return None
    _check_lost(document, route, loss.lost, place)
    for field in loss.missing:
        what = f"every data point would be rejected: {provider.name} requires {field}, and no report has it"
        document.warning(place, what, f"set it: `points: {{set: {{{field}: …}}}}`")
    if route.target.queued and any(each.field == "time_ns" and each.whole for each in loss.lost):
        what = f"{provider.name} stores data points with the time of delivery, which differs in queued mode"
        document.warning(place, what, "use `mode: direct`, or a rule for time_ns with `max_age_s`")
    return frozenset(each.field for each in loss.lost)


def _check_lost(document: Document, route: Route, lost: Iterable[FieldLoss], place: KeyPath) -> None:
    allowed = route.points.allow_loss
    unnamed = [each for each in lost if each.field not in (*allowed, *SPREAD)]
    merging = [each for each in unnamed if each.field in IDENTITY]
    others = [each for each in unnamed if each.field not in IDENTITY]
    accepting = f"`points: {{allow_loss: [{', '.join([*allowed, *(each.field for each in unnamed)])}]}}`"
    name = route.target.provider.name
    if merging:
        what = f"{name} would merge series, because it loses {_in_words(merging)}"
        document.error(place, what, f"if this is acceptable, write {accepting}")
    if others:
        document.warning(place, f"{name} loses {_in_words(others)}", f"if this is acceptable, write {accepting}")


def _in_words(lost: Iterable[FieldLoss]) -> str:
    return ", ".join(f"{each.field} ({each.what})" for each in lost)
