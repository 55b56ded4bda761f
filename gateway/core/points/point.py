"""A data point: one measurement in vendor-neutral terms."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from gateway.core.record import record

Number = int | float
STATISTICS = ("count", "sum", "min", "max", "avg", "last")


@record
class DataPoint:
    """One measurement with a `value`, or with `stats`: some of STATISTICS. `time_ns` counts from the Unix epoch."""

    metric: str
    time_ns: int
    namespace: str | None = None
    value: Number | None = None
    stats: Mapping[str, Number] | None = None
    unit: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)

    def as_mapping(self) -> dict[str, Any]:
        """Return the variables that expressions about a data point see."""
        return {
            "namespace": self.namespace,
            "metric": self.metric,
            "value": self.value,
            "stats": self.stats,
            "unit": self.unit,
            "time_ns": self.time_ns,
            "attributes": self.attributes,
        }
