"""What a provider can represent of a data point, and what is lost on the way, in words."""

from collections.abc import Collection

from gateway.core.points.point import STATISTICS
from gateway.core.vendor.route import Route
from gateway.proof.capabilities import Capabilities
from gateway.proof.loss import IDENTITY, FieldLoss, route_loss
from gateway.proof.probe import ProbeFailed

MAX_NAMES = 2


def holding_words(holding: Capabilities) -> dict[str, str]:
    """Return what can be represented, by field."""
    return {
        "namespace": "yes" if holding.namespace else "no",
        "metric": "yes" if holding.metric else "no",
        "value": holding.value,
        "stats": "any" if holding.stats == set(STATISTICS) else _names(holding.stats),
        "unit": _names(holding.unit),
        "time": "no" if holding.time_ns == "none" else holding.time_ns,
        "attributes": _names(holding.attributes),
    }


def _names(names: Collection[str]) -> str:
    """List the names, or the first few and the number of the others: a table has no room for a whole schema."""
    if isinstance(names, str):
        return names
    known = sorted(names)
    more = f" and {len(known) - MAX_NAMES} more" if len(known) > MAX_NAMES + 1 else ""
    return ", ".join(known[:MAX_NAMES] if more else known) + more or "no"


def lost_words(lost: FieldLoss) -> str:
    return lost.what + ("; series would merge" if lost.field in IDENTITY else "")


def route_loss_words(route: Route) -> dict[str, str]:
    """Return what is lost on the way to the route's target, by field. A relay has no data points to lose."""
    if route.target.provider.relay:
        return {}
    try:
        loss = route_loss(route)
    except ProbeFailed as error:
        return {"unknown": str(error)}
    accepted = {name: " (accepted)" for name in route.points.allow_loss}
    words = {each.field: lost_words(each) + accepted.get(each.field, "") for each in loss.lost}
    words |= {name: "is required, and no report has it" for name in loss.missing}
    return words or {"nothing": "every field arrives"}
