"""Tampered requests are rejected with a reason, and cost no more than an unmodified one.

Odd requests that the vendor accepts are accepted; those tests name the rule.
"""

import base64
import hashlib
import hmac
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.filters import to_bytes
from gateway.core.recipe.keyring import RSA_DECOY, Credential, rsa_verify
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.slots import NonceSlot, TimePartSlot, TimeSlot
from gateway.core.recipe.syntax import ParamsSyntax
from tests.core.recipe.changes import garbled
from tests.core.recipe.samples import NOW_NS, NS, Call, Memory, few, plain_call, rsa_pem, uses_rsa
from tests.core.recipe.vectors import RECIPES, altered, secret

BAD = Reason.BAD_CREDENTIALS
LISTS = {
    "aliyun-acs3": "x-acs-date",
    "aws-sigv4": "x-amz-date",
    "huawei-sdk-hmac-sha256": "x-sdk-date",
    "huawei-v11": "x-sdk-date",
    "jdcloud2": "x-jdcloud-date",
    "oci-cavage": "date",
}
LISTING = [*LISTS, "jdcloud3", "tencent-tc3"]
SCHEMES = [name for name, recipe in RECIPES.items() if any(isinstance(c.syntax, ParamsSyntax) for c in recipe.carriers)]
TIMED = [name for name, recipe in RECIPES.items() if any(isinstance(s, TimeSlot) for s in recipe.slots.values())]
DATED = [name for name, recipe in RECIPES.items() if any(isinstance(s, TimePartSlot) for s in recipe.slots.values())]
KEYED = [name for name, recipe in RECIPES.items() if recipe.key]
SCOPES = [(name, slot) for name, recipe in RECIPES.items() for slot in ("region", "service") if slot in recipe.slots]
DIGESTS = {
    name: carrier.name
    for name, recipe in RECIPES.items()
    for carrier in recipe.carriers
    if carrier.place == "header" and carrier.slots & {"digest", "md5"}
}
# Schemes that decode the path before they sign it.
DECODING = ["huawei-sdk-hmac-sha256", "huawei-v11", "jdcloud2", "jdcloud3", "zstack-access-key"]
UNREMEMBERED = [
    "aliyun-metrichub",
    "aws-sigv4",
    "huawei-sdk-hmac-sha256",
    "huawei-v11",
    "oci-cavage",
    "scp",
    "tencent-tc3",
    "zstack-access-key",
]

SIGNING = [name for name, r in RECIPES.items() if r.signature is not None and r.signature.method != "hash"]

Rejected = Callable[..., Reason]


class Hmacs:
    """Counts the calls of `hmac.digest` with the interpreter's profiling hook; nothing is replaced."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        before = sys.getprofile()
        sys.setprofile(self._observe)
        try:
            yield
        finally:
            sys.setprofile(before)

    def _observe(self, frame: FrameType, event: str, argument: object) -> None:
        self.count += event == "call" and frame.f_code is hmac.digest.__code__

    def of(self, call: Call, *known: Credential, **pins: str) -> int:
        """Return how many HMACs it costs to verify the call."""
        before = self.count
        with self.counted():
            call.rejection(*known, **pins)
        return self.count - before


@pytest.fixture
def hmacs() -> Hmacs:
    return Hmacs()


@pytest.fixture
def rejected(hmacs: Hmacs) -> Rejected:
    """Return a function that returns the reason of a rejection, and checks its message and its cost."""

    def reason(call: Call, *known: Credential, **options: Any) -> Reason:
        before = hmacs.count
        with pytest.raises(CallerError) as rejection, hmacs.counted():
            call.verify(*known, **options)
        assert hmacs.count - before <= most_expensive(hmacs, call.recipe.name)
        outcome = rejection.value.outcome
        assert outcome.message and "the-secret" not in outcome.message
        assert outcome.reason is not None
        return outcome.reason

    return reason


def most_expensive(hmacs: Hmacs, name: str) -> int:
    """Return the number of HMACs for a call that matches only the last binding in `accept`."""
    return hmacs.of(plain_call(name)) * (1 + len(RECIPES[name].accept))


def every(names: Iterable[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", list(names))


def edited(call: Call, header: str, pattern: str, text: str) -> Call:
    """Return the call with the first match in a header's value replaced."""
    value, count = re.subn(pattern, text, call.request.header(header) or "", count=1)
    assert count == 1
    return call.with_header(header, value)


def rewritten(call: Call, old: str, new: str) -> Call:
    """Return the call with a text replaced everywhere."""
    request = call.request
    headers = []
    for name, value in request.headers:
        if value.startswith("Basic "):
            plain = base64.b64decode(value[6:]).decode().replace(old, new)
            value = f"Basic {base64.b64encode(plain.encode()).decode()}"
        headers.append((name, value.replace(old, new)))
    body = request.body.replace(to_bytes(old), to_bytes(new))
    return call.changed(target=request.target.replace(old, new), headers=tuple(headers), body=body)


@every(RECIPES)
def test_an_unmodified_call_is_accepted(name: str) -> None:
    assert plain_call(name).rejection() is None


@every(RECIPES)
def test_another_secret_is_rejected(name: str, rejected: Rejected) -> None:
    call = plain_call(name)
    other = secret(rsa_pem(1) if uses_rsa(call.recipe) else "another-secret", call.credential.key)

    assert rejected(call, other) is (Reason.BAD_SIGNATURE if call.recipe.key else Reason.UNKNOWN_KEY)


@every(KEYED)
def test_an_unknown_key_is_rejected(name: str, rejected: Rejected) -> None:
    call = plain_call(name)

    assert rejected(call, secret(call.credential.secret.reveal(), "another-key")) is Reason.UNKNOWN_KEY


@every(KEYED)
def test_an_empty_key_is_rejected(name: str, rejected: Rejected) -> None:
    assert rejected(rewritten(plain_call(name), "the-key", "")) is BAD


CARRIED = [
    pytest.param(name, carrier, id=f"{name}-{carrier.name}")
    for name, recipe in RECIPES.items()
    for carrier in recipe.carriers
    if carrier.place == "header" and not carrier.optional
]
every_header = pytest.mark.parametrize(("name", "carrier"), CARRIED)


@every_header
def test_a_repeated_header_is_rejected_even_if_both_are_equal(name: str, carrier: Any, rejected: Rejected) -> None:
    call = plain_call(name)
    value = call.request.header(carrier.name)

    assert rejected(call.with_header(carrier.name, value, value)) is BAD


@every_header
def test_a_missing_header_is_rejected(name: str, carrier: Any, rejected: Rejected) -> None:
    assert rejected(plain_call(name).with_header(carrier.name)) is Reason.MISSING_CREDENTIALS


@every_header
def test_a_nul_in_a_header_is_rejected(name: str, carrier: Any, rejected: Rejected) -> None:
    call = plain_call(name)
    value = call.request.header(carrier.name)
    half = len(value) // 2

    assert rejected(call.with_header(carrier.name, f"{value[:half]}\0{value[half:]}")) in (
        BAD,
        Reason.BAD_SIGNATURE,
        Reason.UNKNOWN_KEY,
    )


@every_header
def test_a_folded_header_is_rejected(name: str, carrier: Any, rejected: Rejected) -> None:
    call = plain_call(name)
    value = call.request.header(carrier.name)
    folded = value.replace(" ", "\r\n ", 1) if " " in value else f"{value[:1]}\r\n {value[1:]}"

    assert rejected(call.with_header(carrier.name, folded)) in (BAD, Reason.UNKNOWN_KEY)


@every_header
def test_a_header_of_64_kib_is_rejected_without_an_hmac(name: str, carrier: Any, hmacs: Hmacs) -> None:
    call = plain_call(name)
    value = call.request.header(carrier.name)
    costs = [
        hmacs.of(call.with_header(carrier.name, text))
        for text in (value + "a" * 65_536, value + ', a="' * 13_000, value.replace(" ", " " * 65_536, 1) + " " * 65_536)
    ]

    assert costs[:2] == [0, 0]
    assert costs[2] <= hmacs.of(call)


@every(RECIPES)
def test_header_names_have_no_case(name: str) -> None:
    """RFC 9110, section 5.1."""
    call = plain_call(name)
    headers = tuple((header.swapcase(), value) for header, value in call.request.headers)

    assert call.changed(headers=headers).rejection() is None


@every(LISTING)
def test_an_empty_list_of_signed_headers_is_rejected(name: str, rejected: Rejected) -> None:
    call = plain_call(name)

    assert rejected(rewritten(call, call.slots["signed"], "")) is BAD


@every(LISTING)
def test_a_short_list_of_signed_headers_is_rejected_even_if_correctly_signed(name: str, rejected: Rejected) -> None:
    assert rejected(plain_call(name, signed="host")) is BAD


@every(LISTS)
def test_a_date_that_is_not_signed_is_rejected(name: str, rejected: Rejected) -> None:
    listed = plain_call(name).slots["signed"]
    sep = " " if name == "oci-cavage" else ";"
    without = sep.join(header for header in listed.split(sep) if header != LISTS[name])

    assert rejected(plain_call(name, signed=without)) is BAD


@pytest.mark.parametrize(
    ("name", "header", "later"),
    [
        ("jdcloud3", "x-jdcloud-date", "20251009T085321Z"),
        ("tencent-tc3", "x-tc-timestamp", "1760000001"),
        ("scp", "scp-timestamp", "1760000000001"),
    ],
)
def test_a_date_outside_the_list_of_headers_is_signed(name: str, header: str, later: str, rejected: Rejected) -> None:
    assert rejected(plain_call(name).with_header(header, later)) is Reason.BAD_SIGNATURE


@every(LISTING)
def test_a_signed_header_that_is_missing_is_rejected(name: str, rejected: Rejected) -> None:
    call = plain_call(name)
    sep = " " if name == "oci-cavage" else ";"

    assert rejected(plain_call(name, signed=f"{call.slots['signed']}{sep}x-missing")) is BAD


@every(LISTING)
def test_a_duplicate_in_the_list_of_signed_headers_is_rejected(name: str, rejected: Rejected) -> None:
    call = plain_call(name)
    sep = " " if name == "oci-cavage" else ";"

    assert rejected(plain_call(name, signed=f"{call.slots['signed']}{sep}host")) is BAD


@every(SCHEMES)
def test_another_algorithm_is_rejected(name: str, rejected: Rejected) -> None:
    scheme = next(c.syntax.scheme for c in RECIPES[name].carriers if isinstance(c.syntax, ParamsSyntax))

    assert rejected(edited(plain_call(name), "authorization", scheme, f"{scheme[:-1]}9")) is BAD


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("oci-cavage", "rsa-sha256", "rsa-sha1"),
        ("oci-cavage", "rsa-sha256", "hmac-sha256"),
        ("aliyun-metrichub", "hmac-sha1", "hmac-sha256"),
        ("aliyun-rpc-v1", "SignatureMethod=HMAC-SHA1", "SignatureMethod=HMAC-SHA256"),
        ("aliyun-rpc-v1", "SignatureVersion=1.0", "SignatureVersion=2.0"),
        ("tencent-v1-sha256", "SignatureMethod=HmacSHA256", "SignatureMethod=HmacSHA1"),
        ("zstack-access-key", "ZStack ", "OAuth "),
    ],
)
def test_another_algorithm_in_a_literal_is_rejected(name: str, old: str, new: str, rejected: Rejected) -> None:
    assert rejected(rewritten(plain_call(name), old, new)) is BAD


SCOPES = [(name, slot) for name in RECIPES for slot in ("region", "service") if slot in RECIPES[name].slots]


@pytest.mark.parametrize(("name", "slot"), SCOPES)
def test_another_region_or_service_is_rejected_if_the_route_pins_it(name: str, slot: str, rejected: Rejected) -> None:
    assert rejected(plain_call(name), **{slot: "elsewhere"}) is BAD


@pytest.mark.parametrize(("name", "slot"), SCOPES)
def test_another_region_or_service_breaks_the_signature(name: str, slot: str, rejected: Rejected) -> None:
    call = plain_call(name)
    old, new = (f'"{slot}"', '"elsewhere"') if name == "tencent-receiver" else (f"/{slot}", "/elsewhere")

    assert rejected(rewritten(call, old, new), **{slot: None}) is Reason.BAD_SIGNATURE


@every(DATED)
def test_a_scope_with_another_day_than_the_date_is_rejected(name: str, rejected: Rejected) -> None:
    day = plain_call(name).slots["day"]

    assert rejected(plain_call(name, day=f"{day[:-1]}8")) is BAD


@every(TIMED)
def test_a_call_is_accepted_within_its_window(name: str) -> None:
    call = plain_call(name)

    assert call.rejection(now_ns=NOW_NS + window_ns(name)) is None
    assert call.rejection(now_ns=NOW_NS - window_ns(name)) is None


@every(TIMED)
def test_a_stale_call_is_rejected(name: str, rejected: Rejected) -> None:
    assert rejected(plain_call(name), now_ns=NOW_NS + window_ns(name) + NS) is Reason.STALE


@every(TIMED)
def test_a_call_from_the_future_is_rejected(name: str, rejected: Rejected) -> None:
    assert rejected(plain_call(name), now_ns=NOW_NS - window_ns(name) - NS) is Reason.STALE


def window_ns(name: str) -> int:
    return int(next(s.window_s for s in RECIPES[name].slots.values() if isinstance(s, TimeSlot)) * NS)


NONCED = [name for name, recipe in RECIPES.items() if any(isinstance(s, NonceSlot) for s in recipe.slots.values())]


@every(NONCED)
def test_a_replayed_call_is_rejected(name: str, rejected: Rejected) -> None:
    memory = Memory()

    assert plain_call(name).rejection(memory=memory) is None
    assert rejected(plain_call(name), memory=memory) is Reason.REPLAYED


@every(name for name in NONCED if name != "jdcloud3")
def test_a_nonce_of_another_call_is_rejected(name: str, rejected: Rejected) -> None:
    memory = Memory()
    nonce = plain_call(name).slots["nonce"]

    assert plain_call(name).rejection(memory=memory) is None
    assert plain_call(name, nonce=nonce[:-1] + ("2" if nonce[-1] == "1" else "1")).rejection(memory=memory) is None
    assert rejected(plain_call(name, method="GET", nonce=nonce), memory=memory) is Reason.REPLAYED


def test_a_signature_is_accepted_once_if_the_nonce_is_not_signed(rejected: Rejected) -> None:
    call, memory = plain_call("jdcloud3"), Memory()

    assert call.rejection(memory=memory) is None
    assert rejected(call.with_header("x-jdcloud-nonce", "another"), memory=memory) is Reason.REPLAYED


@every(NONCED)
def test_a_rejected_call_does_not_use_up_its_nonce(name: str, rejected: Rejected) -> None:
    call, memory = plain_call(name), Memory()

    assert rejected(call, secret("another-secret", "the-key"), memory=memory) is Reason.BAD_SIGNATURE
    assert call.rejection(memory=memory) is None


@every(UNREMEMBERED)
def test_an_equal_call_is_accepted_again_if_the_scheme_has_no_nonce(name: str) -> None:
    """By the vendors' rules, two equal reports within one second are two reports with the same signature."""
    memory = Memory()

    assert plain_call(name).rejection(memory=memory) is None
    assert plain_call(name).rejection(memory=memory) is None


@every(name for name in RECIPES if "query" in RECIPES[name].signed)
def test_a_repeated_query_parameter_is_rejected(name: str, rejected: Rejected) -> None:
    call = plain_call(name)

    assert rejected(call.changed(target=f"{call.request.target}&q=1")) is Reason.BAD_SIGNATURE


@pytest.mark.parametrize(
    "name", ["AccessKeyId", "Timestamp", "SignatureNonce", "SignatureMethod", "SignatureVersion", "Signature"]
)
def test_a_repeated_query_parameter_of_the_recipe_is_rejected(name: str, rejected: Rejected) -> None:
    call = plain_call("aliyun-rpc-v1")
    value = re.search(rf"\b{name}=([^&]*)", call.request.target)[1]

    assert rejected(call.changed(target=f"{call.request.target}&{name}={value}")) is BAD


@pytest.mark.parametrize("name", ["SecretId", "Timestamp", "Nonce", "SignatureMethod", "Signature"])
def test_a_repeated_form_field_of_the_recipe_is_rejected(name: str, rejected: Rejected) -> None:
    call = plain_call("tencent-v1-sha256")
    value = re.search(rf"\b{name}=([^&]*)", call.request.body.decode())[1]

    assert rejected(call.changed(body=call.request.body + f"&{name}={value}".encode())) is BAD


@every(SCHEMES)
def test_a_repeated_signature_parameter_is_rejected_even_if_both_are_equal(name: str, rejected: Rejected) -> None:
    parameter = "signature" if name == "oci-cavage" else "Signature"
    doubled = edited(plain_call(name), "authorization", rf"({parameter}=[^,]+)", r"\1,\1")

    assert rejected(doubled) is BAD


@every(SCHEMES)
def test_an_unknown_parameter_is_rejected(name: str, rejected: Rejected) -> None:
    assert rejected(edited(plain_call(name), "authorization", "$", ",Extra=1")) is BAD


@every(DIGESTS)
def test_a_changed_body_with_its_old_digest_is_rejected(name: str, rejected: Rejected) -> None:
    call = with_digest(plain_call(name))

    assert call.rejection() is None
    assert rejected(call.changed(body=call.request.body[:-1] + b" }")) is Reason.BAD_SIGNATURE


@every(DIGESTS)
def test_a_wrong_digest_header_is_rejected(name: str, rejected: Rejected) -> None:
    call = with_digest(plain_call(name))
    value = call.request.header(DIGESTS[name])
    wrong = ("0" if value[0] != "0" else "1") + value[1:]

    assert rejected(call.with_header(DIGESTS[name], wrong)) is Reason.BAD_SIGNATURE


def with_digest(call: Call) -> Call:
    """Add the optional digest header; it is not signed."""
    header = DIGESTS[call.recipe.name]
    if call.request.header(header) is not None:
        return call
    return call.with_header(header, hashlib.sha256(call.request.body).hexdigest())


@every(name for name in DIGESTS if name not in ("aliyun-metrichub", "oci-cavage"))
def test_an_unsigned_payload_is_rejected_unless_the_recipe_lists_it(name: str, rejected: Rejected) -> None:
    call = plain_call(name, digest="UNSIGNED-PAYLOAD").with_header(DIGESTS[name], "UNSIGNED-PAYLOAD")
    lenient = altered(name, slots={"digest": {"allow": ["UNSIGNED-PAYLOAD"]}})

    assert rejected(call) is Reason.BAD_SIGNATURE
    assert Call(lenient, call.request, call.body_kind, call.credential, call.given).rejection() is None


@every(name for name in RECIPES if RECIPES[name].signature)
@pytest.mark.parametrize("letter", ["!", "٣", "é"])
def test_a_signature_in_another_alphabet_is_rejected_before_it_is_compared(
    name: str, letter: str, hmacs: Hmacs, rejected: Rejected
) -> None:
    call = plain_call(name)
    signature = call.slots[call.recipe.signature.name]
    foreign = with_signature(call, letter * len(signature))

    assert foreign.rejection() is BAD
    assert hmacs.of(foreign) == 0


@every(name for name in RECIPES if RECIPES[name].signature and "64" not in RECIPES[name].signature.encoding)
def test_a_signature_in_the_other_case_is_rejected(name: str, rejected: Rejected) -> None:
    call = plain_call(name)

    assert rejected(with_signature(call, call.slots[call.recipe.signature.name].swapcase())) is BAD


def with_signature(call: Call, text: str) -> Call:
    signature = call.slots[call.recipe.signature.name]
    changed = rewritten(call, signature, text)
    for encode in (quote_plus, lambda text: quote(text, safe="")):
        if changed.request == call.request:
            changed = rewritten(call, encode(signature), encode(text))
    assert changed.request != call.request
    return changed


@every(name for name in SIGNING if name not in DECODING and "path" in RECIPES[name].signed)
def test_percent_encoding_in_the_other_case_is_rejected_if_the_path_is_signed_as_sent(
    name: str, rejected: Rejected
) -> None:
    call = plain_call(name, path="/v1/a%2Fb")

    assert rejected(rewritten(call, "/v1/a%2Fb", "/v1/a%2fb")) is Reason.BAD_SIGNATURE


@every(DECODING)
def test_percent_encoding_in_the_other_case_is_accepted_if_the_path_is_decoded_first(name: str) -> None:
    """The vendors' own signers decode the path and encode it again."""
    call = plain_call(name, path="/v1/a%2Fb")

    assert rewritten(call, "/v1/a%2Fb", "/v1/a%2fb").rejection() is None


@every(name for name in SIGNING if not uses_rsa(RECIPES[name]))
def test_an_unknown_key_and_a_wrong_signature_cost_as_much_as_the_most_expensive_call(name: str, hmacs: Hmacs) -> None:
    call = plain_call(name)
    unknown = hmacs.of(call, secret("the-secret", "another-key"))
    wrong = hmacs.of(call, secret("another-secret", "the-key"))

    assert unknown == wrong == most_expensive(hmacs, name) > 0


@every(name for name in SIGNING if not uses_rsa(RECIPES[name]))
def test_an_unknown_key_costs_the_same_if_a_known_one_has_two_secrets(name: str, hmacs: Hmacs) -> None:
    call = plain_call(name)
    two = [secret("one", "the-key"), secret("two", "the-key"), secret("three", "a-third-key")]

    wrong = hmacs.of(call, *two)
    single = hmacs.of(rewritten(call, "the-key", "a-third-key"), *two)
    unknown = hmacs.of(rewritten(call, "the-key", "another-key"), *two)

    assert unknown == single == wrong == 2 * most_expensive(hmacs, name)


def test_an_unknown_rsa_key_is_checked_with_a_real_decoy() -> None:
    assert not rsa_verify(RSA_DECOY.reveal(), b"text", b"signature", "sha256")


@every(KEYED)
def test_both_secrets_of_a_key_are_accepted(name: str) -> None:
    call = plain_call(name)
    other = secret(rsa_pem(1) if uses_rsa(call.recipe) else "another-secret", "the-key")

    assert call.rejection(other, call.credential) is None
    assert call.rejection(call.credential, other) is None


@every(RECIPES)
def test_bytes_that_are_not_utf8_are_signed_like_text(name: str) -> None:
    recipe = RECIPES[name]
    call = plain_call(name, path="/caf\udce9", query=())

    assert call.rejection() is None
    if "path" in recipe.signed:
        assert rewritten(call, "\udce9", "\udce8").rejection() is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@few
@given(data=st.data())
def test_a_garbled_call_is_rejected_without_a_crash(recipe: Recipe, data: st.DataObject) -> None:
    call = plain_call(recipe.name)

    for _ in range(data.draw(st.integers(1, 3))):
        call = data.draw(garbled(call))

    call.rejection()
