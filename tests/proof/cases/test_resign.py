import hashlib
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.context import RequestContext
from gateway.core.http.received import ReceivedRequest
from gateway.core.http.request import PublicUrl, Request, Secret
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.core.pipeline import identify_caller
from gateway.core.recipe.keyring import Credential, make_keyring
from gateway.core.recipe.session_tokens import issue_token, make_account, make_accounts
from gateway.core.recipe.sign import SigningContext, sign
from gateway.core.recipe.verify import NoReplayCheck, Verifier
from gateway.core.vendor.matching import RequestMatcher
from gateway.core.vendor.route import Route
from gateway.proof.cases.resign import refresh_sample
from tests.support.specs import recipe, stand_in

NS = 1_000_000_000
THEN_S, NOW_S = 1_700_000_000, 1_800_000_000
ADDRESS = "127.0.0.1:8080"
SIGNS = recipe("""
recipe: signs
slots:
  key: {kind: key}
  time: {kind: time, format: epoch, window_s: 60}
  digest: {kind: derived, text: "{body|sha256|hex}"}
  signature: {kind: signature, of: "{method}{url}{time}{body|sha256|hex}", hmac: sha256, key: "{secret}", as: hex}
carry:
  - {header: x-key, value: "{key}"}
  - {header: x-time, value: "{time}"}
  - {header: x-digest, value: "{digest}", optional: true}
  - {header: x-signature, value: "{signature}"}
""")
CREDENTIAL = Credential(Secret("s"), "k")
ACME = stand_in("""
provider: acme
receive:
  request: {method: POST, path: /in, body: json}
  verify: [session]
  each: {item: body}
  point: {metric: item, value: item}
""")

ACME_UNSIGNED = Request("POST", "/in", (("Host", "h"), ("Authorization", "case-secret")), b"{}")


def route(**changes: Any) -> Route:
    verifiers = (Verifier(SIGNS, make_keyring([CREDENTIAL]), {}),)
    return replace(ACME, source=replace(ACME.source, verifiers=verifiers, **changes))


def sample(body: str = "{}", *, scheme: str = "http", host: str = "vendor.example", path: str = "/in") -> Request:
    draft = UnsignedRequest("POST", scheme, host, path, body_kind="json", body=body.encode())
    return sign(draft, SIGNS, CREDENTIAL, {}, SigningContext(THEN_S * NS, b"")).request


def refreshed(request: Request, on: Route) -> Request:
    return refresh_sample(
        request, on, then_ns=THEN_S * NS, context=SigningContext(NOW_S * NS, bytes(16)), address=ADDRESS
    ).request


def rejection(request: Request, on: Route) -> Reason | None:
    """Verify a request now."""
    try:
        context = RequestContext(NOW_S * NS, NoReplayCheck())
        identify_caller(on.source, on.source.verifiers, ReceivedRequest(request, "json"), context)
    except CallerError as error:
        return error.outcome.reason
    return None


BEHIND = route(public_url=PublicUrl("https", "vendor.example", "/api"))
HOSTED = route(match=RequestMatcher({"host": ("vendor.example",)}))


@pytest.mark.parametrize(
    ("request_", "on", "host"),
    [
        pytest.param(sample(), route(), ADDRESS, id="its host is the address"),
        pytest.param(sample(), HOSTED, "vendor.example", id="its host selects the route"),
        pytest.param(sample(scheme="https", path="/api/in"), BEHIND, ADDRESS, id="its URL is a proxy's"),
    ],
)
def test_sample_is_signed_for_now_and_its_new_address(request_: Request, on: Route, host: str):
    received = replace(request_, target="/in", scheme="http")

    made = refreshed(received, on)

    assert rejection(received, on) is Reason.STALE
    assert rejection(made, on) is None
    assert (made.host, made.target) == (host, "/in")


def test_optional_digest_is_left_out():
    body = '{"t": 1700000000}'
    digest = hashlib.sha256(body.encode()).hexdigest()
    request = sample(body)
    announced = replace(request, headers=(*request.headers, ("X-Digest", digest)))

    made = refreshed(announced, route())

    assert (made.header("x-digest"), rejection(made, route())) == (None, None)


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ("1699999990", "1799999990"),
        ("1700000000123", "1800000000123"),
        ("1700000000123456", "1800000000123456"),
        ("1700000000123456789", "1800000000123456789"),
        ('"1700000000"', '"1800000000"'),
        ("1600000000", "1600000000"),
        ("1700000000.5", "1700000000.5"),
        ("91700000000", "91700000000"),
        ('"v1700000000"', '"v1700000000"'),
    ],
    ids=["s", "ms", "us", "ns", "text", "another year", "a fraction", "more digits", "part of a word"],
)
def test_times_of_the_samples_day_are_shifted_to_now(then: str, now: str):
    assert refreshed(sample(f'{{"t": {then}}}'), route()).body.decode() == f'{{"t": {now}}}'


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ("2023-11-14T22:13:20Z", "2027-01-15T08:00:00Z"),
        ("2023-11-14T22:13:20.123456+00:00", "2027-01-15T08:00:00.123456+00:00"),
        ("2023-11-15 06:13:20 +0800", "2027-01-15 16:00:00 +0800"),
        ("20231114T221320Z", "20270115T080000Z"),
        ("2023-11-14T22%3A13%3A20Z", "2027-01-15T08%3A00%3A00Z"),
        ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z"),
        ("2023-11-14T25:13:20Z", "2023-11-14T25:13:20Z"),
        ("2023-11-14", "2023-11-14"),
    ],
    ids=["UTC", "fraction", "zone", "basic", "percent-encoded", "another year", "no such hour", "a date alone"],
)
def test_iso_times_of_the_samples_day_are_shifted_to_now(then: str, now: str):
    request = replace(ACME_UNSIGNED, target=f"/in?t={then.replace(' ', '%20')}", body=f'{{"t": "{then}"}}'.encode())

    made = refreshed(request, ACME)

    assert (made.body.decode(), made.target) == (f'{{"t": "{now}"}}', f"/in?t={now.replace(' ', '%20')}")


def test_session_of_an_account_is_issued_again():
    account = Credential(Secret("password"), "admin")
    check = replace(ACME.source.verifiers[0], keyring=make_keyring([]), accounts=make_accounts([account], 60))
    on = replace(ACME, source=replace(ACME.source, verifiers=(check,)))
    token, _ = issue_token(make_account(account, 60), now_ns=THEN_S * NS, lifetime_s=60, entropy=bytes(16))
    request = replace(ACME_UNSIGNED, headers=(("Host", "h"), ("Authorization", token)))

    made = refreshed(request, on)

    assert (rejection(request, on), rejection(made, on)) == (Reason.UNKNOWN_KEY, None)


def test_times_in_a_query_are_moved():
    request = replace(ACME_UNSIGNED, target="/in?t=1700000000")

    assert refreshed(request, ACME).target == "/in?t=1800000000"


@pytest.mark.parametrize(
    ("request_", "on"),
    [
        pytest.param(ACME_UNSIGNED, ACME, id="a secret alone"),
        pytest.param(replace(sample(), headers=(("Host", "h"), ("X-Key", "k"))), route(), id="rejected"),
        pytest.param(replace(ACME_UNSIGNED, target="/other"), ACME, id="another path"),
    ],
)
def test_unsigned_and_rejected_samples_are_not_signed(request_: Request, on: Route):
    made = refreshed(request_, on)

    assert made == request_.at(PublicUrl("http", ADDRESS))
