"""Holds a route to what gets lost on it: what would merge series has to be accepted in so many words."""

from collections.abc import Collection, Iterable
from dataclasses import replace

from gateway.core.expression.compiler import KeyPath
from gateway.core.vendor.route import Route, Target
from gateway.proof.loss import IDENTITY, FieldLoss, route_loss
from gateway.proof.probe import ProbeFailed
from gateway.specs.yaml.document import Document

SEND: KeyPath = ("send", "provider")
ALLOW_LOSS: KeyPath = ("points", "allow_loss")
SPREAD = ("stats",)  # each becomes a data point of its own, so that nothing is lost


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
    """Report what is lost towards one target, and return those fields; None where it cannot be known."""
    provider = route.target.provider
    if provider.receive is None:
        what = f"what {provider.name} can hold is not known: it has no `receive` to read its calls with"
        document.note(place, what)
        return None
    try:
        loss = route_loss(route, attribute_names)
    except ProbeFailed as error:
        what = f"what {provider.name} can hold is not known: its `receive` refuses what its `send` makes ({error})"
        document.warning(place, what)
        return None
    _check_lost(document, route, loss.lost, place)
    for field in loss.missing:
        what = f"every data point would be refused: {provider.name} requires {field}, and no report has it"
        document.warning(place, what, f"say what it is: `points: {{set: {{{field}: …}}}}`")
    if route.target.queued and any(each.field == "time_ns" and each.whole for each in loss.lost):
        what = f"{provider.name} has no time for data points: queued, they are stored at the time of delivery"
        document.warning(place, what, "deliver directly, or let a rule for time_ns refuse what has waited too long")
    return frozenset(each.field for each in loss.lost)


def _check_lost(document: Document, route: Route, lost: Iterable[FieldLoss], place: KeyPath) -> None:
    allowed = route.points.allow_loss
    unnamed = [each for each in lost if each.field not in (*allowed, *SPREAD)]
    merging = [each for each in unnamed if each.field in IDENTITY]
    others = [each for each in unnamed if each.field not in IDENTITY]
    accepting = f"`points: {{allow_loss: [{', '.join([*allowed, *(each.field for each in unnamed)])}]}}`"
    name = route.target.provider.name
    if merging:
        what = f"{name} loses what tells series apart: {_in_words(merging)}"
        document.error(place, what, f"if they may merge, write {accepting}")
    if others:
        document.warning(place, f"{name} loses {_in_words(others)}", f"if that will do, write {accepting}")


def _in_words(lost: Iterable[FieldLoss]) -> str:
    return ", ".join(f"{each.field} ({each.what})" for each in lost)
