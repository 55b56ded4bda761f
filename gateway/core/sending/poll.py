"""The question that asks after a call whose answer was not the last word."""

from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.recipe.model import Recipe
from gateway.core.vendor.route import Target


def poll_request(target: Target, path: str) -> UnsignedRequest:
    """Return the question to the target's own host; `path` stands in the place of all that follows the host."""
    return UnsignedRequest("GET", target.scheme, target.host, path)


def poll_recipe(target: Target) -> Recipe | None:
    """Return what signs the question. A target without `poll` asks none."""
    sign = target.send.poll.sign if target.send.poll else "none"
    if isinstance(sign, Recipe):
        return sign
    return target.recipe if sign == "own" else None
