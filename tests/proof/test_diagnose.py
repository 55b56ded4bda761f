from dataclasses import replace

import pytest

from gateway.core.http.received import ReceivedRequest
from gateway.core.http.request import PublicUrl, Request, Secret
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.evaluate import Evaluation
from gateway.core.recipe.keyring import Credential, make_keyring
from gateway.core.recipe.verify import VerificationFailed, Verifier
from gateway.core.vendor.routing import RouteMatch
from gateway.proof.diagnose import UNKNOWN_CAUSE, likely_cause
from tests.support.specs import recipe, stand_in

SIGNED = recipe("""
recipe: acme
slots:
  key: {kind: key}
  signature: {kind: signature, of: "{url}\\n{body}", hmac: sha256, key: "{secret}", as: hex}
carry: [{header: x-key, value: "{key}"}, {header: x-signature, value: "{signature}"}]
""")
ROUTE = stand_in("""
provider: acme
receive:
  request: {method: POST, path: /p, body: json}
  verify: [session]
  each: {item: body.items}
  point: {metric: item.m, value: item.v}
""")
CHECK = Verifier(SIGNED, make_keyring([Credential(Secret("s"), "K")]), {})
BAD = VerificationFailed(Reason.BAD_SIGNATURE, "m", "acme", "K")


def signed_as(body: bytes, host: str = "h") -> Request:
    """Return a request with the signature for another body or host."""
    made = Evaluation(
        SIGNED, ReceivedRequest(Request("POST", "/p", (("Host", host),), body), "json"), {"key": "K"}, "s"
    )
    return Request("POST", "/p", (("Host", "h"), ("X-Key", "K"), ("X-Signature", made.signature)), b"{}")


def cause(
    request: Request, error: Exception | None, *, also: bool = False, public_url: PublicUrl | None = None
) -> str | None:
    verifiers = {"local_verifiers": {"login": (CHECK,)}} if also else {"verifiers": (CHECK,)}
    source = replace(ROUTE.source, public_url=public_url, **verifiers)
    match = RouteMatch(replace(ROUTE, source=source), ROUTE.source.receive.requests[0], {})
    return likely_cause(match, ReceivedRequest(request, "json"), error, now_ns=0)


def test_cause_of_a_bad_signature_is_found():
    assert cause(signed_as(b""), BAD) == "the client signed an empty body"


def test_cause_is_found_for_a_call_without_data_points():
    assert cause(signed_as(b""), BAD, also=True) == "the client signed an empty body"


def test_cause_is_found_in_the_request_as_the_client_sent_it():
    public = PublicUrl("http", "public.example")

    assert cause(signed_as(b"", "public.example"), BAD, public_url=public) == "the client signed an empty body"
    assert cause(signed_as(b"", "public.example"), BAD) == UNKNOWN_CAUSE


def test_cause_of_a_stale_request_is_found():
    error = VerificationFailed(Reason.STALE, "m", "acme", "K")

    assert cause(signed_as(b"{}"), error) == "the signature is right: another rule rejects it"


@pytest.mark.parametrize("key", ["other", None], ids=["one unknown", "none"])
def test_cause_is_unknown_for_an_unknown_key(key: str | None):
    assert cause(signed_as(b""), VerificationFailed(Reason.BAD_SIGNATURE, "m", "acme", key)) == UNKNOWN_CAUSE


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(None, id="nothing"),
        pytest.param(ValueError("bug"), id="a bug"),
        pytest.param(CallerError.of(Reason.BAD_SIGNATURE, "m"), id="a rejection without a claimed recipe"),
        pytest.param(VerificationFailed(Reason.UNKNOWN_KEY, "m", "acme", "K"), id="an unknown key"),
        pytest.param(VerificationFailed(Reason.REPLAYED, "m", "acme", "K"), id="a replay"),
        pytest.param(
            VerificationFailed(Reason.BAD_SIGNATURE, "m", "other", "K"), id="a recipe that the route does not have"
        ),
    ],
)
def test_other_rejections_have_no_further_cause(error: Exception | None):
    assert cause(signed_as(b""), error) is None


def test_request_that_cannot_be_read_has_no_cause():
    assert cause(Request("POST", "/p", (("Host", "h"),), b"{}"), BAD) is None
