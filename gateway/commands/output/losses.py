"""What is lost on the way, in words."""

from gateway.core.vendor.route import Route
from gateway.proof.loss import IDENTITY, FieldLoss, route_loss
from gateway.proof.probe import ProbeFailed


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
