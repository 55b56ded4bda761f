"""The receiver's signature, compared with both samples on the vendor's page."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest

from gateway.core.http.received import ReceivedRequest
from gateway.core.http.request import Request, Secret
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.carriers import read_slots
from gateway.core.recipe.evaluate import Evaluation
from gateway.core.recipe.keyring import Credential, make_keyring
from gateway.core.recipe.sign import SigningContext, sign
from gateway.core.recipe.verify import Verified, Verifier, verify
from tests.core.recipe.vectors import RECIPES
from tests.support.vectors import read_vectors, request_of

VECTORS = read_vectors("tencent_receiver.json")
NOW_NS = VECTORS["now"] * 1_000_000_000
NONCE = {"nonce": str(VECTORS["nonce"])}
RECIPE = RECIPES["tencent-receiver"]
SIGNED = ("SecretId", "Region", "Timestamp", "Nonce", "Signature")

each_vector = pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["id"])


class NothingSeen:
    def remember(self, once: tuple[str, ...], until_ns: int, *, owner: str = "") -> bool:
        return True


def message_of(request: Request) -> ReceivedRequest:
    return ReceivedRequest(request, "json" if request.body else "none")


def credential_of(case: dict[str, Any]) -> Credential:
    return Credential(Secret(case["credentials"]["secret_key"]), case["credentials"]["secret_id"])


def verified(case: dict[str, Any], request: Request, *, now_ns: int = NOW_NS) -> Verified:
    checks = [Verifier(RECIPE, make_keyring([credential_of(case)]), {})]
    return verify(message_of(request), checks, now_ns=now_ns, replays=NothingSeen())


def rejection(case: dict[str, Any], request: Request) -> Reason | None:
    try:
        verified(case, request)
    except CallerError as error:
        return error.outcome.reason
    return None


def parameters(request: Request) -> dict[str, Any]:
    return dict(json.loads(request.body)) if request.body else dict(parse_qsl(request.query, strict_parsing=True))


def with_parameters(request: Request, values: dict[str, Any]) -> Request:
    if request.body:
        return replace(request, body=json.dumps(values).encode())
    return replace(request, target=f"{request.path}?{urlencode(values)}")


def other_texts(text: str) -> Iterator[str]:
    """Yield the text with each character replaced by a similar one, and with each left out."""
    for at, character in enumerate(text):
        other = str((int(character) + 1) % 10) if character.isdigit() else ("x" if character != "x" else "y")
        yield text[:at] + other + text[at + 1 :]
        yield text[:at] + text[at + 1 :]


@each_vector
def test_a_vector_is_accepted_at_its_clock(case: dict[str, Any]) -> None:
    who = verified(case, request_of(case))

    assert (who.recipe, who.key) == ("tencent-receiver", case["credentials"]["secret_id"])
    assert who.slots["nonce"] == str(VECTORS["nonce"])


@each_vector
def test_a_vector_gives_its_string_to_sign_and_signature(case: dict[str, Any]) -> None:
    message = message_of(request_of(case))

    made = Evaluation(RECIPE, message, read_slots(RECIPE, message), case["credentials"]["secret_key"])

    assert (made.string_to_sign, made.signature) == (case["string_to_sign"], case["signature"])


@each_vector
def test_a_vector_without_its_signature_is_signed_with_the_same_one(case: dict[str, Any]) -> None:
    request = request_of(case)
    unsigned = {name: value for name, value in parameters(request).items() if name not in SIGNED}
    query = () if request.body else tuple(unsigned.items())
    draft = UnsignedRequest.of(request, "json" if request.body else "none", unsigned if request.body else None, query)

    signed = sign(draft, RECIPE, credential_of(case), {"region": "sh"}, SigningContext(NOW_NS, b"", NONCE))

    assert signed.evaluation.string_to_sign == case["string_to_sign"]
    assert parameters(signed.request) == parameters(request)
    assert verified(case, signed.request).key == case["credentials"]["secret_id"]


@each_vector
@pytest.mark.parametrize("method", ["PUT", "PATCH", "post", "get", "POS", "GE", "POSTT", ""])
def test_a_vector_with_another_method_is_rejected(case: dict[str, Any], method: str) -> None:
    assert rejection(case, replace(request_of(case), method=method)) is Reason.BAD_SIGNATURE


@each_vector
def test_a_vector_with_the_method_of_the_other_is_rejected(case: dict[str, Any]) -> None:
    request = request_of(case)
    other = {"POST": "GET", "GET": "POST"}[request.method]

    assert rejection(case, replace(request, method=other)) is Reason.BAD_SIGNATURE


@each_vector
def test_a_vector_with_any_character_of_its_path_changed_is_rejected(case: dict[str, Any]) -> None:
    request = request_of(case)
    query = request.target.removeprefix(request.path)

    reasons = {path: rejection(case, replace(request, target=path + query)) for path in other_texts(request.path)}

    assert len(reasons) >= 2 * len("/v2/index.php") - 1
    assert set(reasons.values()) == {Reason.BAD_SIGNATURE}


@each_vector
@pytest.mark.parametrize("name", SIGNED)
def test_a_vector_with_any_character_of_a_signed_parameter_changed_is_rejected(case: dict[str, Any], name: str) -> None:
    request = request_of(case)
    values = parameters(request)
    kind = type(values[name])

    texts = [text for text in other_texts(str(values[name])) if kind is str or not text.startswith("0")]
    accepted = [
        text for text in texts if rejection(case, with_parameters(request, values | {name: kind(text)})) is None
    ]

    assert len(texts) >= len(str(values[name]))
    assert accepted == []


@each_vector
@pytest.mark.parametrize("name", [name for name in SIGNED if name != "Signature"])
def test_a_vector_with_a_space_beside_a_signed_parameter_is_rejected(case: dict[str, Any], name: str) -> None:
    request = request_of(case)
    values = parameters(request)
    padded = [f"{values[name]}{blank}" for blank in " \t\n\u00a0"] + [f" {values[name]}"]

    accepted = [text for text in padded if rejection(case, with_parameters(request, values | {name: text})) is None]

    assert accepted == []


@each_vector
def test_a_vector_with_a_line_break_after_its_signature_is_accepted(case: dict[str, Any]) -> None:
    """Python 2 appends one to base64."""
    request = request_of(case)
    values = parameters(request)

    ended = with_parameters(request, values | {"Signature": f"{values['Signature']}\n"})

    assert rejection(case, ended) is None


@each_vector
@pytest.mark.parametrize("name", SIGNED)
def test_a_vector_without_a_signed_parameter_is_rejected(case: dict[str, Any], name: str) -> None:
    request = request_of(case)
    values = {other: value for other, value in parameters(request).items() if other != name}

    assert rejection(case, with_parameters(request, values)) is Reason.MISSING_CREDENTIALS


@each_vector
def test_a_vector_with_any_other_secret_is_rejected(case: dict[str, Any]) -> None:
    secrets = [text for text in other_texts(case["credentials"]["secret_key"])]

    reasons = {
        rejection(case | {"credentials": case["credentials"] | {"secret_key": secret}}, request_of(case))
        for secret in secrets
    }

    assert reasons == {Reason.BAD_SIGNATURE}


@each_vector
@pytest.mark.parametrize("away_s", [-301, 301])
def test_a_vector_is_stale_outside_its_window(case: dict[str, Any], away_s: int) -> None:
    with pytest.raises(CallerError) as rejected:
        verified(case, request_of(case), now_ns=NOW_NS + away_s * 1_000_000_000)

    assert rejected.value.outcome.reason is Reason.STALE


@each_vector
@pytest.mark.parametrize("away_s", [-300, 0, 300])
def test_a_vector_is_accepted_within_its_window(case: dict[str, Any], away_s: int) -> None:
    assert verified(case, request_of(case), now_ns=NOW_NS + away_s * 1_000_000_000).recipe == "tencent-receiver"


@each_vector
def test_unsigned_parts_may_differ(case: dict[str, Any]) -> None:
    """The vendor signs neither Namespace and Data nor the Host header."""
    request = request_of(case)
    other = with_parameters(request, parameters(request) | {"Namespace": "other", "Action": "PutMonitorData"})

    assert rejection(case, replace(other, headers=(("Host", "127.0.0.1:8080"),))) is None
