from collections.abc import Sequence
from dataclasses import replace

import pytest

from gateway.core.http.received import ReceivedRequest
from gateway.core.http.request import Request, Secret
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.carriers import read_slots
from gateway.core.recipe.keyring import Credential, make_keyring
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.sign import SigningContext, sign
from gateway.core.recipe.verify import NoReplayCheck, VerificationFailed, Verified, Verifier, verify
from tests.support.specs import SESSION, recipe

NS = 1_000_000_000
NOW = 1_700_000_000 * NS
SIGNED = """
recipe: acme
slots:
  key: {kind: key}
  region: {kind: given}
  time: {kind: time, format: epoch, window_s: 60}
  nonce: {kind: nonce, make: "int:1..1000000"}
  signature: {kind: signature, of: "{string_to_sign}", hmac: sha256, key: "{secret}", as: base64}
carry:
  - {query: Key, value: "{key}"}
  - {query: Region, value: "{region}"}
  - {query: Time, value: "{time}"}
  - {query: Nonce, value: "{nonce}"}
  - {query: Signature, value: "{signature}"}
steps:
  signed: {pairs: {from: query, except: [Signature]}}
  string_to_sign: {text: "{method}{host}{path}?{signed}\\n{nonce}\\n{body}"}
accept:
  - {host: old.example}
"""
ACME = recipe(SIGNED)


class Memory:
    """Remembers forever."""

    def __init__(self) -> None:
        self.remembered: dict[tuple[str, ...], int] = {}

    def remember(self, once: tuple[str, ...], until_ns: int, *, owner: str = "") -> bool:
        is_new = once not in self.remembered
        self.remembered[once] = until_ns
        return is_new

    def seen(self, once: tuple[str, ...]) -> bool:
        return once in self.remembered


def signed(
    *,
    key: str = "K1",
    secret: str = "s1",
    region: str = "sh",
    at_ns: int = NOW,
    nonce: str = "7",
    host: str = "h.example",
) -> Request:
    draft = UnsignedRequest("POST", "http", host, "/p", (("a", "b c"),), body_kind="json", body={"x": [1]})
    return sign(
        draft,
        ACME,
        Credential(Secret(secret), key),
        {"region": region},
        SigningContext(at_ns, bytes(16), {"nonce": nonce}),
    ).request


def signature_of(request: Request) -> str:
    return read_slots(ACME, ReceivedRequest(request, "json"))["signature"]


def check(recipe_: Recipe = ACME, *credentials: tuple[str | None, str], pins: dict[str, str] | None = None) -> Verifier:
    known = credentials or (("K1", "s1"),)
    return Verifier(recipe_, make_keyring(Credential(Secret(secret), key) for key, secret in known), pins or {})


def verified(request: Request, *checks: Verifier, now_ns: int = NOW, memory: Memory | None = None) -> Verified:
    return verify(ReceivedRequest(request, "json"), checks or (check(),), now_ns=now_ns, replays=memory or Memory())


def rejection(request: Request, *checks: Verifier, now_ns: int = NOW, memory: Memory | None = None) -> CallerError:
    with pytest.raises(CallerError) as caught:
        verified(request, *checks, now_ns=now_ns, memory=memory)
    return caught.value


def test_signed_request_is_verified():
    who = verified(signed())

    assert (who.recipe, who.key) == ("acme", "K1")
    assert who.slots.keys() == {"key", "region", "time", "nonce"}


@pytest.mark.parametrize(
    ("request_", "check_", "reason", "message"),
    [
        pytest.param(
            replace(signed(), target="/p?a=b"),
            check(),
            Reason.MISSING_CREDENTIALS,
            "the parameter Key is missing",
            id="no credentials",
        ),
        pytest.param(
            replace(signed(), target=signed().target + "&Key=K1"),
            check(),
            Reason.BAD_CREDENTIALS,
            "the parameter Key is repeated",
            id="doubled",
        ),
        pytest.param(
            signed(region="gz"),
            check(pins={"region": "sh"}),
            Reason.BAD_CREDENTIALS,
            "this route does not accept the region 'gz'",
            id="another region than the pinned one",
        ),
        pytest.param(signed(key="K2"), check(), Reason.UNKNOWN_KEY, "the key id is unknown", id="unknown key"),
        pytest.param(signed(secret="s2"), check(), Reason.BAD_SIGNATURE, "the signature does not match", id="secret"),
        pytest.param(
            replace(signed(), body=signed().body + b" "),
            check(),
            Reason.BAD_SIGNATURE,
            "the signature does not match",
            id="another body",
        ),
        pytest.param(
            replace(signed(), method="PUT"),
            check(),
            Reason.BAD_SIGNATURE,
            "the signature does not match",
            id="another method",
        ),
        pytest.param(
            replace(signed(), target=signed().target.replace("a=b", "a=c")),
            check(),
            Reason.BAD_SIGNATURE,
            "the signature does not match",
            id="another parameter",
        ),
        pytest.param(
            replace(signed(), target=signed().target.replace("Nonce=7", "Nonce=8")),
            check(),
            Reason.BAD_SIGNATURE,
            "the signature does not match",
            id="another nonce",
        ),
        pytest.param(
            signed(at_ns=NOW - 61 * NS),
            check(),
            Reason.STALE,
            "the request's time is 61 s old; 60 s are allowed",
            id="too old",
        ),
        pytest.param(
            signed(at_ns=NOW + 61 * NS),
            check(),
            Reason.STALE,
            "the request's time is 61 s in the future; 60 s are allowed",
            id="too far ahead",
        ),
    ],
)
def test_request_is_rejected_with_its_reason(request_: Request, check_: Verifier, reason: Reason, message: str):
    error = rejection(request_, check_)

    assert (error.outcome.reason, error.outcome.message) == (reason, message)


@pytest.mark.parametrize("away_s", [-60, 60])
def test_time_at_the_edge_of_the_window_is_accepted(away_s: int):
    assert verified(signed(at_ns=NOW + away_s * NS)).key == "K1"


def test_verification_error_has_the_claimed_recipe_and_key():
    error = rejection(signed(key="K2"))

    assert isinstance(error, VerificationFailed)
    assert (error.recipe, error.key) == ("acme", "K2")


def test_given_value_without_a_pin_is_not_checked():
    assert verified(signed(region="anywhere")).slots["region"] == "anywhere"


@pytest.mark.parametrize("secret", ["old", "new"])
def test_both_secrets_of_a_key_are_accepted_during_a_rotation(secret: str):
    assert verified(signed(secret=secret), check(ACME, ("K1", "old"), ("K1", "new"))).key == "K1"


@pytest.mark.parametrize(
    ("signed_host", "host", "is_taken"),
    [("h.example", "h.example", True), ("old.example", "h.example", True), ("h.example", "old.example", False)],
    ids=["its own", "an accepted one", "the accepted one, signed for another"],
)
def test_signed_host_is_the_one_on_the_wire_or_an_accepted_one(signed_host: str, host: str, is_taken: bool):
    request = signed(host=signed_host)
    moved = replace(request, headers=(("Host", host), *request.headers[1:]))

    if is_taken:
        assert verified(moved).key == "K1"
    else:
        assert rejection(moved).outcome.reason is Reason.BAD_SIGNATURE


class Counting(Request):
    """Counts evaluations: each one reads the host once and computes one HMAC."""

    evaluations = 0

    @property
    def url(self) -> str:
        Counting.evaluations += 1
        return "http://h.example/p"


COUNTED = recipe(
    """
recipe: acme
slots:
  key: {kind: key}
  signature: {kind: signature, of: "{url}", hmac: sha256, key: "{secret}", as: hex}
carry: [{header: x-key, value: "{key}"}, {header: x-signature, value: "{signature}"}]
accept: [{host: a}, {host: b}]
"""
)


def evaluations(key: str) -> int:
    before = Counting.evaluations
    request = Counting("GET", "/p", (("X-Key", key), ("X-Signature", "00")))
    rejection(request, check(COUNTED, ("K1", "s1")))
    return Counting.evaluations - before


def test_unknown_key_costs_what_a_bad_signature_costs():
    assert evaluations("unknown") == evaluations("K1") == 3


def test_request_is_accepted_once():
    memory = Memory()

    assert verified(signed(), memory=memory).key == "K1"
    assert rejection(signed(), memory=memory).outcome.reason is Reason.REPLAYED
    assert memory.remembered == {("acme", "K1", "1700000000", "7"): NOW + 120 * NS}


@pytest.mark.parametrize(
    "request_",
    [replace(signed(), body=b"{}"), signed(key="K2"), signed(at_ns=NOW - 99 * NS), signed(region="gz")],
    ids=["bad signature", "unknown key", "stale", "another region"],
)
def test_rejected_request_is_not_remembered(request_: Request):
    memory = Memory()

    rejection(request_, check(pins={"region": "sh"}), memory=memory)

    assert memory.remembered == {}


@pytest.mark.parametrize(
    ("replay", "slots"),
    [
        ("", ("acme", "K1", "1700000000", "7")),
        ("replay: [nonce]", ("acme", "7")),
        ("replay: signature", ("acme", "K1", signature_of(signed()))),
        ("replay: none", None),
    ],
    ids=["default", "slots", "signature", "none"],
)
def test_recipe_names_the_slots_that_are_accepted_once(replay: str, slots: tuple[str, ...] | None):
    memory = Memory()

    verified(signed(), check(recipe(SIGNED + replay)), memory=memory)

    assert list(memory.remembered) == ([] if slots is None else [slots])


def test_unsigned_nonce_does_not_prevent_replays_by_default():
    assert (
        recipe(SIGNED.replace("{nonce}\\n{body}", "{body}").replace("[Signature]", "[Signature, Nonce]")).replay == ()
    )


@pytest.mark.parametrize("wire", ["+", "%2B", "%20"], ids=["plus", "encoded plus", "encoded space"])
def test_space_in_a_base64_signature_is_read_as_plus(wire: str):
    request = next(request for nonce in range(99) if "%2B" in (request := signed(nonce=str(nonce))).target)

    assert verified(replace(request, target=request.target.replace("%2B", wire))).key == "K1"


LONE = recipe(SESSION)


def authorized(value: str) -> Request:
    return Request("POST", "/", (("Authorization", value),), b"{}")


@pytest.mark.parametrize("secret", ["s1", "s2"])
def test_lone_secret_is_looked_up(secret: str):
    who = verified(authorized(secret), check(LONE, (None, "s1"), (None, "s2")))

    assert (who.recipe, who.key, who.slots) == ("session", None, {})


def test_unknown_secret_is_an_unknown_key():
    error = rejection(authorized("s3"), check(LONE, (None, "s1")))

    assert (error.outcome.reason, error.outcome.message) == (
        Reason.UNKNOWN_KEY,
        "the secret or session is unknown or has expired",
    )


BOTH: Sequence[Verifier] = (check(LONE, (None, "s1")), check())


def test_recipe_is_chosen_by_the_carriers_that_are_present():
    assert verified(authorized("s1"), *BOTH).recipe == "session"
    assert verified(signed(), *BOTH).recipe == "acme"


@pytest.mark.parametrize(
    ("request_", "reason", "words"),
    [
        (Request("GET", "/"), Reason.MISSING_CREDENTIALS, "the parameter Key is missing"),
        (authorized("not one"), Reason.BAD_CREDENTIALS, "the header Authorization cannot be read"),
    ],
    ids=["nothing", "the most specific one"],
)
def test_most_specific_rejection_of_several_recipes_is_raised(request_: Request, reason: Reason, words: str):
    error = rejection(request_, *BOTH)

    assert (error.outcome.reason, error.outcome.message) == (reason, words)


def test_without_a_recipe_nothing_is_verified():
    with pytest.raises(CallerError, match="no recipe accepts this call"):
        verify(ReceivedRequest(signed(), "json"), (), now_ns=NOW, replays=Memory())


TOKEN = recipe("""
recipe: token
slots:
  token: {kind: given}
  session: {kind: secret}
carry:
  - {header: x-token, value: "{token}", optional: true}
  - {header: x-secret, value: "{session}"}
""")


@pytest.mark.parametrize(
    ("token", "reason"),
    [((), Reason.BAD_CREDENTIALS), ((("X-Token", "b"),), Reason.BAD_CREDENTIALS), ((("X-Token", "a"),), None)],
    ids=["missing", "another", "the one"],
)
def test_optional_slot_that_a_route_pins_is_required(token: tuple[tuple[str, str], ...], reason: Reason | None):
    message = ReceivedRequest(Request("POST", "/", (("X-Secret", "s"), *token)), "none")
    pinned = Verifier(TOKEN, make_keyring([Credential(Secret("s"))]), {"token": "a"})

    try:
        verify(message, [pinned], now_ns=NOW, replays=NoReplayCheck())
        rejected = None
    except CallerError as error:
        rejected = error.outcome.reason

    assert rejected is reason
