from dataclasses import replace

import pytest

from gateway.core.expression import Compiler
from gateway.core.points.rules import Rule
from gateway.core.vendor.provider import Provider
from gateway.core.vendor.route import PointChanges
from gateway.proof.loss import Loss, expressible_by, find_loss, route_loss
from gateway.proof.probe import ProbeFailed, own_targets
from tests.support.kinds import COUNTS, FIXED, NARROW, WHOLE
from tests.support.specs import provider, stand_in


def between(source: str | Provider, target: str, changes: PointChanges = PointChanges(), *rules: Rule) -> Loss:  # noqa: B008  # frozen
    sends = provider(target)
    receives = provider(source) if isinstance(source, str) else source
    (first, *_) = own_targets(sends)
    first = replace(first, rules=(*first.rules, *rules))
    return find_loss(expressible_by(receives, names=sends.attribute_names), first, changes)


def setting(**fields: str) -> PointChanges:
    return PointChanges(set=tuple(Compiler().members(fields, None, ()).items()))


def losses(loss: Loss) -> dict[str, str]:
    return {each.field: each.what for each in loss.lost}


@pytest.mark.parametrize(
    ("source", "target", "lost"),
    [
        pytest.param(WHOLE, WHOLE, {}, id="whole to whole"),
        pytest.param(FIXED, FIXED, {}, id="fixed to itself"),
        pytest.param(COUNTS, COUNTS, {}, id="counts to itself"),
        pytest.param(NARROW, NARROW, {}, id="narrow to itself"),
        pytest.param(FIXED, WHOLE, {}, id="less to more"),
        pytest.param(
            WHOLE,
            FIXED,
            {
                "metric": "it arrives as 'qps'",
                "attributes": "only host, zone arrive",
                "time_ns": "it does not arrive and is replaced by the time of receipt",
                "unit": "it does not arrive",
                "stats": "avg, count, last, max, min, sum become separate data points",
            },
            id="more to fixed",
        ),
        pytest.param(
            WHOLE,
            COUNTS,
            {
                "namespace": "it does not arrive",
                "attributes": "only host arrives",
                "time_ns": "only whole seconds arrive",
                "value": "only integers arrive",
                "unit": "it does not arrive",
                "stats": "avg, count, last, max, min, sum become separate data points",
            },
            id="more to counts",
        ),
        pytest.param(
            FIXED,
            COUNTS,
            {
                "namespace": "it does not arrive",
                "attributes": "all arrive except zone",
                "value": "only integers arrive",
            },
            id="two attributes to one",
        ),
        pytest.param(
            WHOLE,
            NARROW,
            {
                "time_ns": "only whole milliseconds arrive",
                "unit": "'Percent' arrives as 'PERCENT'",
                "stats": "avg, count, last, sum become separate data points",
            },
            id="units of its own",
        ),
    ],
)
def test_expressible_data_that_does_not_arrive_is_lost(source: str, target: str, lost: dict[str, str]):
    assert losses(between(source, target)) == lost


@pytest.mark.parametrize(
    ("old", "new", "lost"),
    [
        pytest.param("v: value,", "v: 'length(metric)',", {"value": "it does not arrive"}, id="another value"),
        pytest.param(
            "v: value,",
            "v: 'if(value > `9000`, `9007199254740992`, value)',",
            {"value": "integers above 2^53 lose digits"},
            id="as a double",
        ),
        pytest.param("a: attributes}", "a: '`{}`'}", {"attributes": "no attribute arrives"}, id="no attributes"),
        pytest.param(
            "m: metric,", "m: \"join('.', [metric, 'x'])\",", {"metric": "it arrives as 'probe_metric.x'"}, id="metric"
        ),
    ],
)
def test_loss_says_how_a_field_is_lost(old: str, new: str, lost: dict[str, str]):
    assert losses(between(WHOLE, WHOLE.replace(old, new))) == lost


def test_rejected_large_integers_are_not_lost():
    assert losses(between(WHOLE, WHOLE, PointChanges(), Rule("value", max=10_000))) == {}


def test_provider_without_send_can_express_all_that_it_reads():
    receiving = provider(WHOLE.partition("send:")[0])

    assert losses(between(receiving, COUNTS)).keys() == {"namespace", "attributes", "time_ns", "value", "unit", "stats"}


def test_provider_without_send_can_express_the_attributes_it_names():
    stated = expressible_by(provider(FIXED.partition("send:")[0].replace("given: {members: [qps, rate]}\n", "")))

    assert stated.arrived.attributes == {"host": "host", "zone": "zone"}


def test_field_that_is_only_read_can_be_expressed():
    stated = expressible_by(provider(WHOLE.replace("u: unit, ", "").replace("n: namespace, ", "")))

    assert (stated.arrived.namespace, bool(stated.units)) == ("probe_namespace", True)


def test_expressible_values_are_in_the_words_of_the_source():
    stated = expressible_by(provider(NARROW))

    assert (tuple(stated.units), stated.stats) == (("PERCENT", "NONE", "SECOND"), {"min", "max"})


@pytest.mark.parametrize(
    ("changes", "lost"),
    [
        pytest.param({"namespace": "`null`"}, {"attributes", "value"}, id="emptied on purpose"),
        pytest.param({"metric": "join('.', [namespace, metric])"}, {"namespace", "attributes", "value"}, id="folded"),
        pytest.param({"attributes": "{host: attributes.host}"}, {"namespace", "value"}, id="fewer attributes"),
        pytest.param({"value": "round(value)"}, {"namespace", "attributes"}, id="rounded"),
        pytest.param({"attributes": "length(value)"}, {"namespace", "value"}, id="unknown of a probe"),
        pytest.param({"unit": "'s'"}, {"namespace", "attributes", "value", "unit"}, id="stated by the route"),
    ],
)
def test_loss_is_computed_after_the_routes_changes(changes: dict[str, str], lost: set[str]):
    assert losses(between(FIXED, COUNTS, setting(**changes))).keys() == lost


def test_time_set_by_the_route_must_arrive():
    loss = between(FIXED, FIXED, setting(time_ns="`1699999999000000000`"))

    assert losses(loss).keys() == {"time_ns"}


def test_single_statistic_is_not_split():
    assert "stats" not in losses(between(WHOLE, FIXED, PointChanges(stats="avg")))


@pytest.mark.parametrize(
    ("changes", "missing"),
    [({}, ("namespace",)), ({"namespace": "'a/b'"}, ()), ({"namespace": "length(metric)"}, ())],
    ids=["never stated", "set", "unknown of a probe"],
)
def test_required_field_that_no_report_has_is_missing(changes: dict[str, str], missing: tuple[str, ...]):
    assert between(COUNTS, NARROW, setting(**changes)).missing == missing


def test_target_that_cannot_read_itself_says_so():
    with pytest.raises(ProbeFailed):
        between(WHOLE, WHOLE.replace("path: /whole, json", "path: /other, json"))


@pytest.mark.parametrize(("names", "lost"), [({"team"}, {"namespace"}), (set(), set())], ids=["known", "unknown"])
def test_attribute_that_the_route_reads_is_probed(names: set[str], lost: set[str]):
    route = stand_in(WHOLE.replace("n: namespace, ", ""))
    changed = replace(route, points=setting(namespace="join('-', [attributes.team])"))

    assert losses(route_loss(changed, names)).keys() == lost
