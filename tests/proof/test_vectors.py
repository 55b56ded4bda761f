import hmac
from dataclasses import replace

import pytest

from gateway.core.http.received import ReceivedRequest
from gateway.core.http.request import Request, Secret
from gateway.core.recipe.keyring import Credential
from gateway.proof.vectors import Vector, run_vector
from tests.support.specs import SESSION, recipe

ACME = recipe("""
recipe: acme
slots:
  key: {kind: key}
  time: {kind: time, format: epoch, window_s: 60}
  nonce: {kind: nonce}
  signature: {kind: signature, of: "{text}", hmac: sha256, key: "{secret}", as: hex}
carry:
  - {header: x-key, value: "{key}"}
  - {header: x-time, value: "{time}"}
  - {header: x-nonce, value: "{nonce}"}
  - {header: x-signature, value: "{signature}"}
steps:
  text: {text: "{method} {target} {time} {nonce} {body}"}
""")
TEXT = 'POST /p?q=1 1700000000 n-1 {"a": 1}'
SIGNATURE = hmac.new(b"s", TEXT.encode(), "sha256").hexdigest()
VECTOR = Vector(
    name="one",
    source="by hand",
    message=ReceivedRequest(
        Request(
            "POST",
            "/p?q=1",
            (("X-Key", "K"), ("X-Time", "1700000000"), ("X-Nonce", "n-1"), ("X-Signature", SIGNATURE)),
            b'{"a": 1}',
        ),
        "json",
    ),
    credential=Credential(Secret("s"), "K"),
    now_ns=1_700_000_000_000_000_000,
    string_to_sign=TEXT,
)


@pytest.mark.parametrize("text", [TEXT, ""], ids=["with its string to sign", "without one"])
def test_correct_vector_passes(text: str):
    assert run_vector(ACME, replace(VECTOR, string_to_sign=text)) == []


@pytest.mark.parametrize(
    ("vector", "wrong"),
    [
        pytest.param(
            replace(VECTOR, credential=Credential(Secret("other"), "K")),
            ["BAD_SIGNATURE: the signature does not match"],
            id="another secret",
        ),
        pytest.param(
            replace(VECTOR, credential=Credential(Secret("s"), "L")),
            ["UNKNOWN_KEY: the key id is unknown"],
            id="another key",
        ),
        pytest.param(
            replace(VECTOR, now_ns=1_700_000_061_000_000_000),
            ["STALE: the request's time is 61 s old; 60 s are allowed"],
            id="another clock",
        ),
        pytest.param(
            replace(VECTOR, string_to_sign="other"), [f"the string to sign is {TEXT!r}"], id="another string to sign"
        ),
        pytest.param(
            replace(VECTOR, message=ReceivedRequest(Request("POST", "/p"), "none")),
            ["MISSING_CREDENTIALS: the header X-Key is missing"],
            id="no signature",
        ),
    ],
)
def test_failing_vector_says_what_is_wrong(vector: Vector, wrong: list[str]):
    assert run_vector(ACME, vector) == wrong


OLD = recipe("""
recipe: acme
slots: {key: {kind: key}, signature: {kind: signature, of: "{path}", hmac: sha256, key: "{secret}", as: hex}}
carry: [{header: x-key, value: "{key}"}, {header: x-signature, value: "{signature}"}]
accept: [{path: /old}]
""")


def test_accepted_signature_that_signing_does_not_reproduce_is_named():
    old, new = (hmac.new(b"s", path, "sha256").hexdigest() for path in (b"/old", b"/p"))
    message = ReceivedRequest(Request("POST", "/p", (("X-Key", "K"), ("X-Signature", old))), "none")

    wrong = run_vector(OLD, replace(VECTOR, message=message, string_to_sign=""))

    assert wrong == [f"signed again, the signature is {new}, not {old}"]


def test_vector_of_a_lone_secret_is_only_verified():
    message = ReceivedRequest(Request("POST", "/p", (("Authorization", "s"),)), "none")
    vector = replace(VECTOR, message=message, credential=Credential(Secret("s")), string_to_sign="")

    assert run_vector(recipe(SESSION), vector) == []
