from dataclasses import replace

import pytest

from gateway.core.http.request import PublicUrl
from gateway.core.outcome.masking import without_addresses
from gateway.core.outcome.outcome import Code, Outcome, Reason, RejectedItem
from gateway.core.vendor.route import Route
from tests.support.specs import stand_in

DOWN = Outcome(Code.UNAVAILABLE, Reason.UPSTREAM_DOWN, "down", retry_after_s=7)
TO_SELF = stand_in(
    """
provider: acme
receive: {request: {method: POST, path: /}, verify: [keyed], each: {item: body}, point: {metric: item.m, value: item.v}}
send:
  item: metric
  request: {method: POST, path: /}
  sign: session
  login:
    for: session
    url: "https://login.example"
    request: {method: POST, path: /login}
    sign: keyed
    token: body.token
    lifetime_s: 60
"""
)


def sending_to(host: str) -> Route:
    target = replace(TO_SELF.target, url=PublicUrl("http", host))
    return replace(TO_SELF, target=replace(target, login=target.send.login))


@pytest.mark.parametrize(
    ("host", "message", "shown"),
    [
        pytest.param("b.example:81", "b.example:81: refused", "the upstream: refused", id="host and port"),
        pytest.param("b.example", "b.example:80: refused", "the upstream: refused", id="the default port"),
        pytest.param("b", "b:80: b is missing", "the upstream: b is missing", id="a name that is a plain word"),
        pytest.param("b", "ab:80, b:800, b:80.c", "ab:80, b:800, b:80.c", id="other addresses"),
        pytest.param(
            "10.0.0.7:81", "not valid for '10.0.0.7'", "not valid for 'the upstream'", id="an address without its port"
        ),
        pytest.param("[::1]:81", "[::1]:81: refused", "the upstream: refused", id="IPv6"),
        pytest.param("b", "login.example:443: refused", "the upstream: refused", id="the server that logs in"),
    ],
)
def test_addresses_of_upstreams_are_replaced(host: str, message: str, shown: str):
    rejected = (RejectedItem(0, Reason.UPSTREAM_REJECTED, message),)

    outcome = without_addresses(replace(DOWN, message=message, rejected=rejected), sending_to(host))

    assert (outcome.message, outcome.rejected[0].message) == (shown, shown)
    assert outcome.retry_after_s == DOWN.retry_after_s
