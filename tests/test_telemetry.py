"""The metrics: counts by route, and series that are removed with their route."""

import pytest

from gateway.core.outcome.outcome import Code, Outcome, Reason, failure
from gateway.telemetry import Telemetry


def test_reports_are_counted_by_route_and_code() -> None:
    telemetry = Telemetry()
    for outcome in (Outcome(Code.OK, accepted=2), Outcome(Code.OK), failure(Reason.BAD_SIGNATURE, "no")):
        telemetry.report("a", outcome, 0.1)

    assert telemetry.counts("gateway_reports", "code") == {"a": {"OK": 2, "UNAUTHENTICATED": 1}}
    assert telemetry.counts("gateway_points", "result") == {"a": {"accepted": 2, "rejected": 0}}


@pytest.mark.parametrize(("kept", "count"), [({"a"}, 2), ({"b"}, 1)], ids=["kept", "removed"])
def test_report_after_a_reload_is_counted(kept: set[str], count: int) -> None:
    telemetry = Telemetry()
    telemetry.report("a", Outcome(Code.OK), 0.1)

    telemetry.keep_routes(kept)
    telemetry.report("a", Outcome(Code.OK), 0.1)

    assert telemetry.counts("gateway_reports", "code")["a"]["OK"] == count


def test_gauge_has_only_its_last_series() -> None:
    telemetry = Telemetry()
    telemetry.replace("gateway_target_paused", {("a", "one"): 1, ("a", "two"): 0})

    telemetry.replace("gateway_target_paused", {("a", "two"): 1})

    lines = [line for line in telemetry.text().decode().splitlines() if line.startswith("gateway_target_paused{")]
    assert lines == ['gateway_target_paused{route="a",target="two"} 1.0']
