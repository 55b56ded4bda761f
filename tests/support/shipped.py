"""The shipped providers, each a vendor and its reporter at once, for reports that the cases in YAML do not state."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.proof.cases.run import Case, run_case
from gateway.specs.load import load
from gateway.specs.schema.cases import stand_in_route

NOW_S = 1_700_000_000
ROUTES = Path(__file__).parents[2] / "routes.d"
SPECS = load(ROUTES, {}, strict_environment=False)
STAND_INS = {name: stand_in_route(provider) for name, provider in SPECS.providers.items()}
# The routes that deliver data points.
REPORTING = [name for name, route in SPECS.routes.items() if not route.is_relay]


def differences(provider: str, **parts: Any) -> list[str]:
    """Return how what the provider makes of a case's parts differs from them."""
    return run_case(Case("a case", NOW_S * 1_000_000_000, **parts), STAND_INS[provider])


def told(reason: str | None) -> dict[str, Any]:
    """Return the outcome of a report that is refused for this reason; None: it is taken."""
    return {"reason": reason} if reason else {"code": "OK"}


def changed(report: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return the report with another value at a dotted path."""
    name, _, rest = path.partition(".")
    if not rest:
        return {**report, name: value}
    below = report[name]
    if isinstance(below, list):
        return {**report, name: [changed(below[0], rest, value), *below[1:]]}
    return {**report, name: changed(below, rest, value)}


def left_out(report: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the report without what stands at a dotted path."""
    name, _, rest = path.partition(".")
    if not rest:
        return {each: value for each, value in report.items() if each != name}
    below = report[name]
    if isinstance(below, list):
        return {**report, name: [left_out(below[0], rest), *below[1:]]}
    return {**report, name: left_out(below, rest)}
