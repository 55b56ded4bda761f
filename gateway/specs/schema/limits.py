"""From the YAML of `limits` to limits."""

from dataclasses import replace

from gateway.core.vendor.provider import UNLIMITED, Limits
from gateway.specs.schema.models import LimitsSpec


def build_limits(spec: LimitsSpec, others: Limits = UNLIMITED) -> Limits:
    """Return the limits, each key that is stated in the place of the others'."""
    stated = {name: getattr(spec, name) for name in spec.model_fields_set}
    rates = {name: stated.pop(name) for name in ("requests_per_s", "points_per_s") if name in stated}
    return replace(others, **stated, pace=replace(others.pace, **rates) if rates else others.pace)
