import hashlib
from collections.abc import Mapping
from dataclasses import replace

import pytest

from gateway.core.http.received import ReceivedRequest
from gateway.core.http.request import Request
from gateway.core.recipe.evaluate import Evaluation
from gateway.core.recipe.model import Recipe
from gateway.proof.diagnose import UNKNOWN_CAUSE, cause_of_rejection
from tests.support.specs import recipe

NS = 1_000_000_000
HOUR = 3600
NOW_S = 1_700_000_000
NOW = NOW_S * NS


def signing(time: str = "{kind: time, format: epoch, window_s: 60}") -> Recipe:
    return recipe(f"""
recipe: acme
slots:
  key: {{kind: key}}
  time: {time}
  signature: {{kind: signature, of: "{{text}}", hmac: sha256, key: "{{secret}}", as: hex}}
carry:
  - {{header: x-key, value: "{{key}}"}}
  - {{header: x-time, value: "{{time}}"}}
  - {{header: x-signature, value: "{{signature}}"}}
steps:
  text: {{lines: ["{{method}} {{url}}", "{{time}}", "{{body}}"]}}
""")


URL = signing()


def at(target: str = "/v1/report?q=a", host: str = "h.example", *, scheme: str = "http", body: bytes = b"b") -> Request:
    return Request("POST", target, (("Host", host),), body, scheme)


def cause(
    received: Request,
    signed: Request,
    *,
    recipe_: Recipe = URL,
    time: str = str(NOW_S),
    secrets: tuple[str, ...] = ("s",),
) -> str:
    """Return the cause for a request whose client signed another one."""
    slots: Mapping[str, str] = {"key": "K", "time": time}
    made = Evaluation(recipe_, ReceivedRequest(signed, "text"), slots, "s").signature
    return cause_of_rejection(
        recipe_, ReceivedRequest(received, "text"), {**slots, "signature": made}, secrets, now_ns=NOW
    )


@pytest.mark.parametrize(
    ("received", "signed", "sentence"),
    [
        pytest.param(
            at(host="h.example:8080"), at(), "the client signed the host without its port", id="host without port"
        ),
        pytest.param(
            at(),
            at(host="h.example:8080"),
            "the client signed the host with its port, h.example:8080",
            id="host with port 8080",
        ),
        pytest.param(
            at(), at(host="h.example:443"), "the client signed the host with its port, h.example:443", id="port 443"
        ),
        pytest.param(
            at(), at(scheme="https"), "the client signed https: set `public_url` to the URL it calls", id="https"
        ),
        pytest.param(
            at(scheme="https"),
            at(),
            "the client signed http: set `public_url` to the URL it calls",
            id="plain http",
        ),
        pytest.param(
            at("/v1/report/?q=a"), at(), "the client signed the path without the slash at its end", id="no slash"
        ),
        pytest.param(at(), at("/v1/report/?q=a"), "the client signed the path with a slash at its end", id="slash"),
        pytest.param(
            at("/proxy/v1/report?q=a"),
            at(),
            "the client signed the path without its first segment, /proxy: set `public_url`",
            id="a prefix",
        ),
        pytest.param(at(), at(body=b""), "the client signed an empty body", id="empty body"),
        pytest.param(
            at("/?q=a+b"),
            at("/?q=a%2Bb"),
            "the client signed a plus sign and sent it unencoded in the query, where it means a space",
            id="a plus sign",
        ),
        pytest.param(
            at("/?q=a+b"),
            at("/?q=a%20b"),
            "the client signed a space as %20 and sent it as a plus sign",
            id="a space",
        ),
    ],
)
def test_cause_is_the_variation_that_was_signed(received: Request, signed: Request, sentence: str):
    assert cause(received, signed) == sentence


@pytest.mark.parametrize(
    "signed",
    [
        pytest.param(replace(at(), method="PUT"), id="another method"),
        pytest.param(at(host="other.example"), id="another host"),
        pytest.param(at("/v2/report?q=a"), id="another path"),
        pytest.param(at("/v1/report?q=b"), id="another query"),
        pytest.param(at(body=b"other"), id="another body"),
        pytest.param(at(host="h.example:8080", scheme="https"), id="two variations at once"),
    ],
)
def test_without_a_matching_variation_the_cause_is_unknown(signed: Request):
    assert cause(at(), signed) == UNKNOWN_CAUSE


@pytest.mark.parametrize("secrets", [(), ("other",)], ids=["none", "another"])
def test_without_its_secret_the_cause_is_unknown(secrets: tuple[str, ...]):
    assert cause(at(), at(), secrets=secrets) == UNKNOWN_CAUSE


@pytest.mark.parametrize("secrets", [("old", "s"), ("s", "new")])
def test_each_secret_of_a_key_is_tried(secrets: tuple[str, ...]):
    assert cause(at(), at(body=b""), secrets=secrets) == "the client signed an empty body"


def test_recipe_without_a_signature_has_no_cause():
    lone = recipe(
        'recipe: acme\nslots: {token: {kind: secret}}\ncarry: [{header: authorization, value: "Bearer {token}"}]'
    )

    assert cause_of_rejection(lone, ReceivedRequest(at(), "text"), {"token": "t"}, ["s"], now_ns=NOW) == UNKNOWN_CAUSE


def test_matching_signature_at_the_right_time_points_to_another_rule():
    assert cause(at(), at()) == "the signature is right: another rule rejects it"


WALL_CLOCK = signing('{kind: time, format: "%Y-%m-%dT%H:%M:%SZ", window_s: 60}')


@pytest.mark.parametrize(
    ("time", "sentence"),
    [
        pytest.param(
            "2023-11-15T06:13:20Z", "the client's clock is 8 h ahead, as in another time zone", id="east of here"
        ),
        pytest.param(
            "2023-11-14T17:13:50Z", "the client's clock is 5 h behind, as in another time zone", id="west of here"
        ),
        pytest.param(
            "2023-11-14T22:18:20Z",
            "the signature is right, and the clocks of client and gateway differ",
            id="minutes off",
        ),
        pytest.param(
            "2024-11-14T22:13:20Z", "the signature is right, and the clocks of client and gateway differ", id="a year"
        ),
    ],
)
def test_cause_is_a_wrong_clock_or_another_zone(time: str, sentence: str):
    assert cause(at(), at(), recipe_=WALL_CLOCK, time=time) == sentence


@pytest.mark.parametrize(
    "away_s", [-301, 61, 8 * HOUR], ids=["behind", "ahead", "by a zone, which an epoch does not have"]
)
def test_cause_for_an_epoch_is_a_wrong_clock(away_s: int):
    sentence = cause(at(), at(), time=str(NOW_S + away_s))

    assert sentence == "the signature is right, and the clocks of client and gateway differ"


DIGESTED = recipe("""
recipe: digested
slots:
  key: {kind: key}
  digest: {kind: derived, text: "{body|sha256|hex}"}
  signature: {kind: signature, of: "{method}{body|sha256|hex}", hmac: sha256, key: "{secret}", as: hex}
carry:
  - {header: x-key, value: "{key}"}
  - {header: x-digest, value: "{digest}"}
  - {header: x-signature, value: "{signature}"}
""")


@pytest.mark.parametrize(
    ("digested", "sentence"),
    [
        (b"b", "the header X-Digest does not match the body's digest: the body was changed after it was signed"),
        (b"changed", UNKNOWN_CAUSE),
    ],
    ids=["of the old body", "of the new body"],
)
def test_changed_body_with_its_old_digest_is_named(digested: bytes, sentence: str):
    slots = {"key": "K", "digest": hashlib.sha256(digested).hexdigest()}
    made = Evaluation(DIGESTED, ReceivedRequest(at(body=b"b"), "text"), slots, "s").signature

    found = cause_of_rejection(
        DIGESTED, ReceivedRequest(at(body=b"changed"), "text"), {**slots, "signature": made}, ["s"], now_ns=NOW
    )

    assert found == sentence
