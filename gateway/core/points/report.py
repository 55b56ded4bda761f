"""A report after verification, decoding and the rules of both sides."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.core.outcome.outcome import RejectedItem
from gateway.core.points.decode import Item
from gateway.core.recipe.verify import Verified


@dataclass(frozen=True, slots=True)
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

    @property
    def sender(self) -> Hashable:
        """The recipe, key id and peer address of the report."""
        return self.caller.recipe, self.caller.key, self.peer
