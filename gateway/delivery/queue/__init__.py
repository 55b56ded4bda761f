"""The durable queue: data points that were taken over here, until an upstream has them.

`Store` is the one door, and the only part that the event loop touches. Below it, all of SQLite runs in one thread:
`writer` gathers what waits into one transaction, `ledger` holds the tables, counters and leases, `database` and
`schema` open the file, `damage` keeps what is damaged, `folder` names and locks what lies on disk.
"""

from gateway.core.queue_view import Depth, Destination, QueueStats, State, StoredPoint
from gateway.delivery.queue.folder import CannotOpen, Held
from gateway.delivery.queue.records import LeasedPoint, Limits, NewPoint
from gateway.delivery.queue.store import Store

__all__ = [
    "CannotOpen",
    "Depth",
    "Destination",
    "Held",
    "LeasedPoint",
    "Limits",
    "NewPoint",
    "QueueStats",
    "State",
    "Store",
    "StoredPoint",
]
