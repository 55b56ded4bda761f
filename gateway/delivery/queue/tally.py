"""How many points lie where, and how many bytes they take. Kept in memory, so that nobody has to count the rows."""

from collections import Counter
from dataclasses import dataclass, field

from gateway.delivery.queue.records import ROW_BYTES
from gateway.delivery.queue.schema import DEAD_LETTER, QUEUED

# Bytes, where SQLite's own length() would count characters.
SIZE = f"length(CAST(point AS BLOB)) + length(report_id) + {ROW_BYTES}"

Place = tuple[int, int]  # the number of a destination, and a state


@dataclass(slots=True)
class Tally:
    """Points and bytes, of all and by place. It has a few entries for each destination, whatever lies there."""

    all_points: int = 0
    all_bytes: int = 0
    points: Counter[Place] = field(default_factory=Counter)
    bytes: Counter[Place] = field(default_factory=Counter)

    def add(self, place: Place, points: int, size: int) -> None:
        self.all_points += points
        self.all_bytes += size
        self.points[place] += points
        self.bytes[place] += size

    def merge(self, other: "Tally") -> None:
        self.all_points += other.all_points
        self.all_bytes += other.all_bytes
        self.points.update(other.points)
        self.bytes.update(other.bytes)

    def points_of(self, destination: int) -> int:
        return self.points[destination, QUEUED] + self.points[destination, DEAD_LETTER]

    def bytes_of(self, destination: int) -> int:
        return self.bytes[destination, QUEUED] + self.bytes[destination, DEAD_LETTER]
