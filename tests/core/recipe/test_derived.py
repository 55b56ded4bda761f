import base64
import hashlib
import hmac
from dataclasses import replace

import pytest

from gateway.core.http.received import ReceivedRequest
from gateway.core.http.request import Headers, Request, Secret
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.keyring import Credential, make_keyring
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.sign import SigningContext, sign
from gateway.core.recipe.verify import NoReplayCheck, Verifier, verify
from tests.support.specs import recipe

NS = 1_000_000_000
NOW_S = 1_700_000_000  # 2023-11-14T22:13:20Z
BODY = b"cpu 1"
KEY = Credential(Secret("s"), "K")


def rejection(recipe_: Recipe, request: Request, now_s: int = NOW_S) -> tuple[Reason | None, str] | None:
    """Return the reason of a rejection, or None."""
    check = Verifier(recipe_, make_keyring([KEY]), {})
    try:
        verify(ReceivedRequest(request, "text"), [check], now_ns=now_s * NS, replays=NoReplayCheck())
    except CallerError as error:
        return error.outcome.reason, error.outcome.message
    return None


def signing(slots: str, carriers: str, of: str = "{time}") -> Recipe:
    return recipe(f"""
recipe: acme
slots:
  key: {{kind: key}}
  time: {{kind: time, format: epoch, window_s: 60}}
  {slots}
  signature: {{kind: signature, of: "{of}", hmac: sha256, key: "{{secret}}", as: hex}}
carry:
  - {{header: x-key, value: "{{key}}"}}
  - {{header: x-time, value: "{{time}}"}}
  - {carriers}
  - {{header: x-signature, value: "{{signature}}"}}
""")


def signed(of: str, *headers: tuple[str, str], at_s: int = NOW_S) -> Request:
    """Return a request that was signed by hand."""
    made = hmac.new(b"s", of.encode(), "sha256").hexdigest()
    own: Headers = (("X-Key", "K"), ("X-Time", str(at_s)), ("X-Signature", made))
    return Request("POST", "/", (*own, *headers), BODY)


DIGEST = hashlib.sha256(BODY).hexdigest()
OPTIONAL = signing(
    'digest: {kind: derived, text: "{body|sha256|hex}", allow: [UNSIGNED]}',
    '{header: x-digest, value: "{digest}", optional: true}',
    "{digest}",
)


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(signed(DIGEST, ("X-Digest", DIGEST)), id="the digest of the body"),
        pytest.param(signed(DIGEST), id="none announced, the real one signed"),
        pytest.param(signed("UNSIGNED", ("X-Digest", "UNSIGNED")), id="a literal that is allowed, signed"),
    ],
)
def test_derived_slot_is_accepted(request_: Request):
    assert rejection(OPTIONAL, request_) is None


OTHER = hashlib.sha256(b"other").hexdigest()
MISMATCH = (Reason.BAD_SIGNATURE, "the signature does not match")


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        pytest.param(signed(OTHER, ("X-Digest", OTHER)), MISMATCH, id="another digest, announced and signed"),
        pytest.param(
            signed(DIGEST, ("X-Digest", OTHER)),
            (Reason.BAD_SIGNATURE, "the header X-Digest does not match the body's digest"),
            id="another digest announced than signed",
        ),
        pytest.param(signed(DIGEST, ("X-Digest", "UNSIGNED")), MISMATCH, id="a literal that was not signed"),
        pytest.param(signed("UNSIGNED"), MISMATCH, id="a literal signed and not announced"),
        pytest.param(signed("FREE", ("X-Digest", "FREE")), MISMATCH, id="a literal that is not allowed"),
        pytest.param(
            replace(signed(DIGEST, ("X-Digest", DIGEST)), body=b"cpu 2"), MISMATCH, id="another body than the digest's"
        ),
    ],
)
def test_derived_slot_is_recomputed(request_: Request, why: tuple[Reason, str]):
    assert rejection(OPTIONAL, request_) == why


DAY = 'day: {kind: time_part, of: time, format: "%Y%m%d", tz: "+08:00"}'
DATED = signing(DAY, '{header: x-day, value: "{day}"}', "{day}")


def test_time_part_is_the_same_time_in_its_own_zone():
    assert rejection(DATED, signed("20231115", ("X-Day", "20231115"))) is None


def test_time_part_of_another_time_is_rejected():
    why = rejection(DATED, signed("20231114", ("X-Day", "20231114")))

    assert why == (Reason.BAD_CREDENTIALS, "day '20231114' differs from the time '1700000000'")


LIVING = signing("life: {kind: lifetime, default: 30}", '{header: x-life, value: "{life}"}', "{life}")


@pytest.mark.parametrize(
    ("life", "age_s", "why"),
    [
        pytest.param("30", 30, None, id="within its lifetime"),
        pytest.param("30", 31, (Reason.STALE, "the request's time is 31 s old; 30 s are allowed"), id="over"),
        pytest.param("3600", 60, None, id="within the window"),
        pytest.param(
            "3600", 61, (Reason.STALE, "the request's time is 61 s old; 60 s are allowed"), id="the window caps it"
        ),
        pytest.param("0", 0, None, id="no lifetime, at once"),
        pytest.param("30", -60, None, id="a clock ahead, within the window"),
        pytest.param("-1", 0, (Reason.BAD_CREDENTIALS, "the header X-Life cannot be read"), id="no number"),
    ],
)
def test_lifetime_caps_the_age(life: str, age_s: int, why: tuple[Reason, str] | None):
    assert rejection(LIVING, signed(life, ("X-Life", life)), NOW_S + age_s) == why


def mac(key: bytes, text: bytes, name: str = "sha256") -> bytes:
    return hmac.new(key, text, name).digest()


CHAIN = "derived: {chain: {hash: sha256, key: 'A{secret}', of: ['{key}', end]}}"
ONCE = "derived: {hmac: {hash: sha1, key: '{secret}', of: '{key}'}}"
CHAINED = mac(mac(mac(b"As", b"K"), b"end"), BODY)


@pytest.mark.parametrize(
    ("method", "steps", "expected"),
    [
        pytest.param("hmac: sha256, key: '{secret}', as: hex", "", mac(b"s", BODY).hex(), id="hex"),
        pytest.param("hmac: sha1, key: '{secret}', as: HEX", "", mac(b"s", BODY, "sha1").hex().upper(), id="HEX"),
        pytest.param(
            "hmac: sha512, key: 'x{secret}', as: base64",
            "",
            base64.b64encode(mac(b"xs", BODY, "sha512")).decode(),
            id="base64",
        ),
        pytest.param(
            "hmac: sha256, key: '{secret}', as: base64url",
            "",
            base64.urlsafe_b64encode(mac(b"s", BODY)).decode(),
            id="base64url",
        ),
        pytest.param(
            "hmac: sha1, key: '{secret}', as: base64hex",
            "",
            base64.b64encode(mac(b"s", BODY, "sha1").hex().encode()).decode(),
            id="base64 of hex",
        ),
        pytest.param("hmac: sha256, key: '{derived}', as: hex", CHAIN, CHAINED.hex(), id="chain"),
        pytest.param(
            "hmac: sha256, key: '{derived}', as: hex", ONCE, mac(mac(b"s", b"K", "sha1"), BODY).hex(), id="hmac step"
        ),
        pytest.param(
            "hmac: sha256, key: '{derived|hex}', as: hex",
            ONCE,
            mac(mac(b"s", b"K", "sha1").hex().encode(), BODY).hex(),
            id="hmac step in hex",
        ),
        pytest.param("hash: md5, as: hex, of: '{secret}{body}'", "", hashlib.md5(b"s" + BODY).hexdigest(), id="hash"),
        pytest.param(
            "hash: sha512, as: base64, of: '{secret}{body}'",
            "",
            base64.b64encode(hashlib.sha512(b"s" + BODY).digest()).decode(),
            id="hash in base64",
        ),
    ],
)
def test_signature_has_this_digest(method: str, steps: str, expected: str):
    of = "" if "of:" in method else 'of: "{body}", '
    made = recipe(f"""
recipe: acme
slots: {{key: {{kind: key}}, signature: {{kind: signature, {of}{method}}}}}
carry: [{{header: x-key, value: "{{key}}"}}, {{header: x-signature, value: "{{signature}}"}}]
steps: {{{steps}}}
""")

    request = sign(
        UnsignedRequest("POST", "http", "h", "/", body_kind="text", body=BODY), made, KEY, {}, SigningContext(0, b"")
    ).request

    assert request.header("X-Signature") == expected
    assert rejection(made, request) is None


ACCEPTING = recipe("""
recipe: acme
slots:
  key: {kind: key}
  signature: {kind: signature, of: "{text}", hmac: sha256, key: "{secret}", as: hex}
carry: [{header: x-key, value: "{key}"}, {header: x-signature, value: "{signature}"}]
steps:
  version: {text: v2}
  text: {text: "{version} {host} {path}"}
accept: [{host: old.example}, {path: /old}, {version: v1}, {version: v0, host: older}]
""")


@pytest.mark.parametrize(
    ("text", "is_taken"),
    [
        pytest.param("v2 h /", True, id="as it is"),
        pytest.param("v2 old.example /", True, id="another host"),
        pytest.param("v2 h /old", True, id="another path"),
        pytest.param("v1 h /", True, id="another step"),
        pytest.param("v0 older /", True, id="two bound together"),
        pytest.param("v0 h /", False, id="one of two that go together"),
        pytest.param("v2 old.example /old", False, id="two bindings at once"),
        pytest.param("v3 h /", False, id="none of them"),
    ],
)
def test_bindings_are_accepted_one_at_a_time(text: str, is_taken: bool):
    made = hmac.new(b"s", text.encode(), "sha256").hexdigest()

    why = rejection(ACCEPTING, Request("POST", "/", (("Host", "h"), ("X-Key", "K"), ("X-Signature", made))))

    assert why == (None if is_taken else MISMATCH)
