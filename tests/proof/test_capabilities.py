from dataclasses import replace

import pytest

from gateway.core.points.point import DataPoint
from gateway.proof.capabilities import Capabilities, probe_capabilities
from gateway.proof.probe import own_targets
from tests.support.kinds import COUNTS, FIXED, NARROW, WHOLE
from tests.support.specs import provider


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(WHOLE, ["yes", "yes", "any", "any", "any", "ns", "any"], id="everything"),
        pytest.param(FIXED, ["yes", "no", "any", "no", "no", "no", "host, zone"], id="a fixed schema without time"),
        pytest.param(COUNTS, ["no", "yes", "integers", "no", "no", "s", "host"], id="integers, seconds"),
        pytest.param(
            NARROW, ["yes", "yes", "any", "max, min", "mapped", "ms", "any"], id="narrow rules, units of its own"
        ),
    ],
)
def test_capabilities_of_a_provider(text: str, words: list[str]):
    assert list(probe_capabilities(own_targets(provider(text))[0]).words().values()) == words


@pytest.mark.parametrize(
    ("old", "new", "field", "held"),
    [
        pytest.param("v: value,", "v: 'length(metric)',", "value", "none", id="another value"),
        pytest.param("v: value,", "v: round(value),", "value", "integers", id="rounded"),
        pytest.param(
            "v: value,", "v: 'if(value > `9000`, `9007199254740992`, value)',", "value", "doubles", id="as a double"
        ),
        pytest.param("u: unit,", "u: \"if(unit == '%' || unit == 's', unit, 'x')\",", "unit", "%, s", id="units"),
        pytest.param("u: unit,", "u: \"'NONE'\",", "unit", "no", id="one unit for all"),
        pytest.param("s: stats,", "s: 'stats.{sum: sum, max: min}',", "stats", "sum", id="statistics"),
        pytest.param("t: time_ns,", "t: 'from_ms(to_ms(time_ns))',", "time", "ms", id="milliseconds"),
        pytest.param("t: time_ns,", "t: 1699999980000000000,", "time", "minute", id="minutes"),
        pytest.param("t: time_ns,", "", "time", "no", id="no time"),
        pytest.param("a: attributes}", "a: {host: attributes.host}}", "attributes", "host", id="one attribute"),
        pytest.param("n: namespace,", "n: \"'all'\",", "namespace", "no", id="one namespace"),
    ],
)
def test_changed_values_are_not_capabilities(old: str, new: str, field: str, held: str):
    (target,) = own_targets(provider(WHOLE.replace(old, new)))

    assert probe_capabilities(target).words()[field] == held


@pytest.mark.parametrize(
    ("arrived", "name"),
    [
        (1_699_999_998_123_456_789, "ns"),
        (1_699_999_998_123_456_000, "us"),
        (1_699_999_998_124_000_000, "ms"),
        (1_699_999_998_000_000_000, "s"),
        (1_699_999_980_000_000_000, "minute"),
        (1_700_000_000_000_000_000, "none"),
    ],
    ids=str,
)
def test_resolution_is_the_finest_that_explains_the_arrived_time(arrived: int, name: str):
    sent = DataPoint("m", 1_699_999_998_123_456_789)
    probed = Capabilities(sent, replace(sent, time_ns=arrived), True, frozenset(), {}, frozenset())

    assert probed.resolution == name
