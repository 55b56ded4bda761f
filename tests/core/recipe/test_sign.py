import hmac
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256

import pytest

from gateway.core.http.received import BodyKind, ReceivedRequest
from gateway.core.http.request import Secret
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.errors import SpecError
from gateway.core.recipe.keyring import Credential, make_keyring
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.sign import Signed, SigningContext, make_nonce, max_added_bytes, sign
from gateway.core.recipe.slots import NonceSlot, TimeSlot
from gateway.core.recipe.times import read_times, write_time
from gateway.core.recipe.verify import Verified, Verifier, verify
from gateway.core.sending.sign import sign_call
from tests.core.recipe.vectors import RECIPES
from tests.support.specs import recipe, stand_in

NOW = 1_700_000_000_123_456_789
FRESH = SigningContext(NOW, bytes(range(16)))
SHIPPED = RECIPES
ACME = """
recipe: acme
slots:
  key: {kind: key}
  region: {kind: given, default: sh}
  token: {kind: given, optional: true}
  signature: {kind: signature, of: "{day}\\n{header.x-b}\\n{body}", hmac: sha256, key: "{day_key}", as: hex}
carry:
  - {header: x-key, value: "{key}/{region}"}
  - {header: x-token, value: "{token}", optional: true}
  - {header: x-signature, value: "v1={signature}"}
steps:
  day_key: {text: "{day}{secret|sha256|hex}"}
  day: {lines: ["{region}", "{path}"]}
"""
DIGEST = hmac.digest(b"s", b"sh\n/p\nb\nhello", "sha1")


class NothingSeen:
    def remember(self, once: tuple[str, ...], until_ns: int, *, owner: str = "") -> bool:
        return True


def signed(text: str = ACME, *, draft: UnsignedRequest | None = None, **given: str) -> Signed:
    draft = draft or UnsignedRequest("POST", "http", "h", "/p", headers=(("X-B", "b"),), body_kind="text", body="hello")
    return sign(draft, recipe(text), Credential(Secret("s"), "K"), given, FRESH)


def verified(result: Signed, recipe_: Recipe, credential: Credential, draft: UnsignedRequest) -> Verified:
    checks = [Verifier(recipe_, make_keyring([credential]), {})]
    return verify(ReceivedRequest(result.request, draft.body_kind), checks, now_ns=NOW, replays=NothingSeen())


def test_signature_is_the_hmac_of_the_steps():
    result = signed(region="gz")

    day_key = "gz\n/p043a718774c572bd8a25adbeb1bfcd5c0256ae11cecf9f9c3f925d0e52beaf89"  # sha256 of the secret
    digest = hmac.digest(day_key.encode(), b"gz\n/p\nb\nhello", "sha256").hex()
    assert result.evaluation.steps == {"day": "gz\n/p", "day_key": day_key}
    assert result.evaluation.string_to_sign == b"gz\n/p\nb\nhello"
    assert result.request.header("x-signature") == f"v1={digest}"


def test_signing_adds_slots_and_keeps_the_rest_of_the_call():
    request = signed().request

    assert request.headers[:3] == (("Host", "h"), ("X-B", "b"), ("x-key", "K/sh"))
    assert request.header("x-token") is None
    assert request.body == b"hello"


def test_optional_slot_with_a_value_is_written():
    assert signed(token="t1").request.header("x-token") == "t1"


def test_carriers_are_written_in_the_order_of_the_recipe():
    digest_first = recipe("""
recipe: acme
slots:
  key: {kind: key}
  digest: {kind: derived, text: "{body|sha256|hex}"}
  signature: {kind: signature, of: "{query}", hmac: sha256, key: "{secret}", as: hex}
carry:
  - {header: x-signature, value: "{signature}"}
  - {query: digest, value: "{digest}"}
  - {query: key, value: "{key}"}
  - {header: x-key, value: "{key}"}
""")
    unsigned = UnsignedRequest("POST", "http", "h", "/", query=(("a", "1"),), body_kind="text", body="b")

    result = sign(unsigned, digest_first, Credential(Secret("s"), "K"), {}, FRESH)

    query = f"a=1&digest={sha256(b'b').hexdigest()}&key=K"
    signature = hmac.digest(b"s", query.encode(), "sha256").hex()
    assert result.request.query == query
    assert result.request.headers[1:3] == (("x-signature", signature), ("x-key", "K"))


def test_cached_keys_belong_to_one_secret_and_one_day():
    shared, body = SHIPPED["tencent-tc3"], UnsignedRequest("POST", "https", "h", "/", body_kind="json", body={})
    given, day = {"service": "monitor"}, 86_400 * 1_000_000_000

    for secret in ("s1", "s2", "s1"):
        for now in (NOW, NOW + day, NOW):
            again = replace(FRESH, now_ns=now)
            signed = sign(body, shared, Credential(Secret(secret), "K"), given, again)
            alone = replace(shared)  # has its own cache
            assert signed.signature == sign(body, alone, Credential(Secret(secret), "K"), given, again).signature


def test_evaluation_does_not_show_its_values():
    evaluation = sign(
        UnsignedRequest("GET", "http", "h", "/"), recipe(ACME), Credential(Secret("hidden"), "K"), {}, FRESH
    ).evaluation

    assert evaluation["secret"] == "hidden"
    assert "hidden" not in repr(evaluation)


def test_given_without_a_value_is_a_spec_error():
    with pytest.raises(SpecError, match=r"the signature needs a value for `given\.region`"):
        signed(ACME.replace(", default: sh", ""))


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ("hex", DIGEST.hex()),
        ("HEX", DIGEST.hex().upper()),
        ("base64", b64encode(DIGEST).decode()),
        ("base64url", b64encode(DIGEST, b"-_").decode()),
    ],
)
def test_signature_is_encoded_as_the_slot_says(encoding: str, printed: str):
    plain = ACME.replace("{day_key}", "{secret}").replace("hmac: sha256", "hmac: sha1")

    assert signed(plain.replace("as: hex", f"as: {encoding}")).evaluation.signature == printed


@pytest.mark.parametrize(
    ("time_format", "offset_s", "text", "read_ns"),
    [
        ("epoch", 0, "1700000000", 1_700_000_000_000_000_000),
        ("epoch_ms", 0, "1700000000123", 1_700_000_000_123_000_000),
        ("http", 0, "Tue, 14 Nov 2023 22:13:20 GMT", 1_700_000_000_000_000_000),
        ("%Y%m%dT%H%M%SZ", 0, "20231114T221320Z", 1_700_000_000_000_000_000),
        ("%Y%m%dT%H%M%SZ", 28_800, "20231115T061320Z", 1_700_000_000_000_000_000),
    ],
)
def test_time_is_written_and_read_back(time_format: str, offset_s: int, text: str, read_ns: int):
    slot = TimeSlot("t", "", time_format, offset_s, 300, (), {})

    assert write_time(NOW, time_format, offset_s) == text
    assert read_times(text, slot) == [read_ns]


ZONES = {"PRC": 28_800}
DATE = "Wed, 15 Nov 2023 06:13:20 "


@pytest.mark.parametrize(
    ("text", "hours_east"),
    [
        pytest.param(DATE + "PRC", [8], id="a zone that is listed"),
        pytest.param(DATE + "GMT", [0], id="Greenwich"),
        pytest.param(DATE + "-0330", [-3.5], id="an offset"),
        pytest.param(DATE.lower() + "PRC", [8], id="lower case"),
        pytest.param(DATE + "CST", [8, 0], id="a zone that is not: each reading in turn"),
        pytest.param("Wed, 35 Nov 2023 06:13:20 PRC", [], id="no such day"),
        pytest.param("Wed, 15 Nov 2023", [], id="no time"),
    ],
)
def test_wall_clock_is_read_by_its_zone_or_the_listed_offsets(text: str, hours_east: list[float]):
    slot = TimeSlot("t", "", "%a, %d %b %Y %H:%M:%S CST", 28_800, 900, ("named", 28_800, 0), ZONES)

    wall_clock_ns = 1_700_028_800_000_000_000
    assert read_times(text, slot) == [wall_clock_ns - int(hours * 3600) * 1_000_000_000 for hours in hours_east]


@pytest.mark.parametrize(
    ("low", "high", "entropy", "nonce"),
    [
        pytest.param(1, 9, bytes(16), "1", id="lowest"),
        pytest.param(1, 9, bytes(15) + b"\x08", "9", id="highest"),
        pytest.param(1, 9, bytes(15) + b"\x09", "1", id="round"),
        pytest.param(None, None, bytes(range(16)), "00010203-0405-4607-8809-0a0b0c0d0e0f", id="uuid"),
    ],
)
def test_nonce_is_made_from_the_entropy(low: int | None, high: int | None, entropy: bytes, nonce: str):
    assert make_nonce(NonceSlot("n", "", low, high), entropy) == nonce


def test_signed_form_may_have_any_number_of_fields():
    fields = tuple((f"field{number}", "1") for number in range(3000))
    draft = UnsignedRequest("POST", "http", "h", "/", body_kind="form", body=fields)

    signed = sign(draft, SHIPPED["tencent-v1"], Credential(Secret("s"), "K"), {}, FRESH)

    assert "field2999=1" in str(signed.evaluation.string_to_sign)


@pytest.mark.parametrize("kind", ["json", "form"])
@pytest.mark.parametrize("name", [name for name, recipe_ in SHIPPED.items() if recipe_.writes_body])
def test_added_bytes_are_bounded_without_signing(name: str, kind: BodyKind):
    body = {"a": "1"} if kind == "json" else (("a", "1"),)
    draft = UnsignedRequest("POST", "http", "h", "/", body_kind=kind, body=body)
    credential, given = Credential(Secret('s"é'), 'K"é'), {"region": "é", "token": "t" * 40}

    bound = max_added_bytes(SHIPPED[name], credential, given, kind)
    added = [
        len(sign(draft, SHIPPED[name], credential, given, replace(FRESH, entropy=bytes([number] * 16))).request.body)
        - len(draft.body_bytes())
        for number in range(256)
    ]

    assert 0.5 * bound < max(added) <= bound


def test_header_signature_adds_nothing_to_a_body():
    assert max_added_bytes(SHIPPED["tencent-tc3"], Credential(Secret("s"), "K"), {}, "json") == 0


def test_call_without_a_recipe_is_not_changed():
    target = stand_in("{provider: acme, send: {item: metric, request: {method: GET, path: /}}}").target
    draft = UnsignedRequest("GET", "http", "h", "/")

    assert sign_call(target, target.recipe, draft, FRESH) == Signed.unsigned(draft)


def test_call_is_signed_with_the_routes_credential_and_given():
    target = stand_in("{provider: acme, send: {item: metric, request: {method: GET, path: /}}}").target
    target = replace(target, recipe=recipe(ACME), credential=Credential(Secret("s"), "K"), given={"region": 7})

    assert (
        sign_call(target, target.recipe, UnsignedRequest("GET", "http", "h", "/"), FRESH).request.header("x-key")
        == "K/7"
    )
