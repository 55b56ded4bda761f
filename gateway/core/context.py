"""What the stages of receiving take beside the request and its route, and what they return."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from gateway.core.outcome.outcome import RejectedItem
from gateway.core.points.decode import Item
from gateway.core.recipe.verify import ReplayMemory, Verified
from gateway.core.record import record


@record
class RequestContext:
    """The time, the replay memory, and facts about one request.

    `peer` is the client's IP address; None skips the check of the route's networks. `caller` is the result of
    `verify_head`. `request_id` is the gateway's own id. A login needs `entropy`, 16 random bytes.
    """

    now_ns: int
    replays: ReplayMemory
    peer: str | None = None
    caller: Verified | None = None
    request_id: str = ""
    entropy: bytes = b""


@record
class AcceptedReport:
    """A report that is ready to be delivered.

    All data points of one item share its index. `names` are the variables of the request's expressions. `ignored` is
    the number of members that no mapping reads. `mirrored` maps the name of each mirror to its items. `peer` is the
    client's IP address.
    """

    caller: Verified
    items: tuple[Item, ...]
    rejected: tuple[RejectedItem, ...] = ()
    dropped: int = 0
    names: Mapping[str, Any] = field(default_factory=dict)
    ignored: int = 0
    mirrored: Mapping[str, tuple[Item, ...]] = field(default_factory=dict)
    peer: str | None = None
