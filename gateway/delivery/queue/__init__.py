"""The durable queue: accepted data points until an upstream has them.

`queued` stores the points of a report and `worker` delivers them. Both use `store`, the interface in the event loop.
Below it, all of SQLite runs in the thread of `writer`: `ledger` has the counters and the leases, `listing` the filters,
`database` opens the file, `damage` sets a damaged one aside, `free_space` reserves space, and `folder` locks the data
folder.
"""

from gateway.core.queue_view import Depth, Destination, PointFilter, QueueState, State, StoredPoint
from gateway.delivery.queue.folder import CannotOpen, Held
from gateway.delivery.queue.records import LeasedPoint, NewPoint
from gateway.delivery.queue.settings import Limits, Timing
from gateway.delivery.queue.store import Store

__all__ = [
    "CannotOpen",
    "Depth",
    "Destination",
    "Held",
    "LeasedPoint",
    "Limits",
    "NewPoint",
    "PointFilter",
    "QueueState",
    "State",
    "Store",
    "StoredPoint",
    "Timing",
]
