from dataclasses import replace

import pytest

from gateway.core.points.point import DataPoint
from gateway.core.points.rules import Rule
from gateway.proof.probe import PROBE, ProbeFailed, fitted, own_targets, round_trip
from tests.support.kinds import COUNTS, FIXED, WHOLE, without
from tests.support.specs import provider


def test_point_survives_a_round_trip():
    point = replace(PROBE, unit="s")

    (target,) = own_targets(provider(WHOLE))

    assert round_trip(target, point) == point


def test_needed_given_without_a_value_is_filled_in():
    (target,) = own_targets(provider(FIXED))

    assert round_trip(target, PROBE).namespace == "probe_namespace"


def test_path_prefix_of_the_url_is_not_part_of_the_probe():
    (target,) = own_targets(provider(WHOLE))

    assert round_trip(replace(target, url=replace(target.url, prefix="/prefix")), PROBE) == PROBE


def test_each_request_is_read_by_the_one_that_matches():
    points = [round_trip(target, PROBE) for target in own_targets(provider(COUNTS))]

    assert [point.value for point in points] == [7, 7]


def test_provider_that_only_receives_has_no_targets():
    assert own_targets(provider(WHOLE.partition("send:")[0])) == ()


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        pytest.param("/whole, json", "/other, json", "no request of `receive` is POST /other", id="another path"),
        pytest.param("json: items}", "text: x}", "the body is not JSON: .*", id="another body"),
        pytest.param("m: metric, ", "", "item.m is missing|m is missing", id="no metric"),
        pytest.param("json: items}", "json: []}", "body is empty|the list of items is empty", id="nothing"),
        pytest.param(
            "each:",
            "reject_report: [{when: '`true`', reason: NOT_ALLOWED, text: no}]\n  each:",
            "no",
            id="rejected",
        ),
        pytest.param(
            "provider: whole", "provider: whole\nrules: {unit: {required: true}}", "unit is missing", id="rule"
        ),
        pytest.param(
            "provider: whole",
            "provider: whole\nrules: {value: {max: 1, else: drop}}",
            "a rule drops it",
            id="rule that drops",
        ),
        pytest.param("json: items}", "json: length(`1`)}", "whole: length.*", id="failing expression"),
    ],
)
def test_failed_probe_says_why(old: str, new: str, why: str):
    (target,) = own_targets(provider(WHOLE.replace(old, new)))

    with pytest.raises(ProbeFailed, match=f"^({why})$"):
        round_trip(target, PROBE)


def test_provider_that_only_sends_cannot_be_read():
    (target,) = own_targets(without(WHOLE, WHOLE[WHOLE.index("receive:") : WHOLE.index("send:")]))

    with pytest.raises(ProbeFailed, match="it has no `receive`"):
        round_trip(target, PROBE)


@pytest.mark.parametrize(
    ("rule", "fit"),
    [
        pytest.param(Rule("value", min=8, max=10), {"value": 10}, id="number"),
        pytest.param(Rule("metric", max_chars=5), {"metric": "Probe"}, id="text"),
        pytest.param(Rule("unit", required=True), {"unit": "Percent"}, id="unit"),
        pytest.param(Rule("attributes", max=1), {"attributes": {"probe_name": "probe"}}, id="fewer attributes"),
        pytest.param(Rule("attributes", max_chars=2), {}, id="nothing that fits"),
    ],
)
def test_probe_is_adapted_to_a_rule(rule: Rule, fit: dict[str, object]):
    point = replace(PROBE, attributes={**PROBE.attributes, "host": "host"})

    assert fitted((rule,), point) == replace(point, **fit)  # type: ignore[arg-type]


def test_probed_field_is_not_replaced():
    assert fitted((Rule("value", max=1),), PROBE, but="value") == PROBE


def test_probe_does_not_apply_a_fix():
    rule = Rule("unit", required=True, fix=lambda names: "s")

    assert fitted((rule,), DataPoint("m", 0, value=1, unit="ms")).unit == "ms"
