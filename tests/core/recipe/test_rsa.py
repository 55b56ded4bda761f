import base64
from collections.abc import Callable
from functools import cache

import pytest

from gateway.core.http.received import ReceivedRequest
from gateway.core.http.request import Request, Secret
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.errors import CallerError, SpecError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.keyring import RSA_DECOY, Credential, make_keyring
from gateway.core.recipe.sign import SigningContext, sign
from gateway.core.recipe.verify import NoReplayCheck, Verifier, verify
from tests.support.specs import recipe

pytest.importorskip("cryptography")

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

ACME = """
recipe: acme
slots:
  key: {kind: key}
  signature: {kind: signature, of: "{method} {path}", rsa: pkcs1-sha256, as: base64}
carry: [{header: x-key, value: "{key}"}, {header: x-signature, value: "{signature}"}]
"""
PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8
Pem = Callable[[], str]
PLAIN = serialization.NoEncryption()


@cache
def rsa_key(number: int) -> rsa.RSAPrivateKey:
    """Return a different key for each number."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def private_pem(number: int = 0) -> str:
    return rsa_key(number).private_bytes(PEM, PKCS8, PLAIN).decode()


def public_pem(number: int = 0) -> str:
    return rsa_key(number).public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def encrypted_pem() -> str:
    return rsa_key(0).private_bytes(PEM, PKCS8, serialization.BestAvailableEncryption(b"pass")).decode()


def elliptic_pem() -> str:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(PEM, PKCS8, PLAIN).decode()


def signed(pem: str, method: str = "POST", text: str = ACME) -> Request:
    return sign(
        UnsignedRequest(method, "http", "h", "/p"),
        recipe(text),
        Credential(Secret(pem), "K"),
        {},
        SigningContext(0, b""),
    ).request


def rejection(request: Request, pem: str, text: str = ACME, key: str = "K") -> Reason | None:
    check = Verifier(recipe(text), make_keyring([Credential(Secret(pem), key)]), {})
    try:
        verify(ReceivedRequest(request, "none"), [check], now_ns=0, replays=NoReplayCheck())
    except CallerError as error:
        return error.outcome.reason
    return None


@pytest.mark.parametrize("pem", [private_pem, public_pem], ids=["the private key", "its public half"])
def test_signature_of_a_private_key_is_verified_by(pem: Pem):
    assert rejection(signed(private_pem()), pem()) is None


@pytest.mark.parametrize(("name", "algorithm"), [("sha256", hashes.SHA256()), ("sha512", hashes.SHA512())])
def test_signature_follows_pkcs1(name: str, algorithm: hashes.HashAlgorithm):
    text = ACME.replace("pkcs1-sha256, as: base64", f"pkcs1-{name}, as: base64")

    request = signed(private_pem(), text=text)

    expected = rsa_key(0).sign(b"POST /p", padding.PKCS1v15(), algorithm)
    assert request.header("X-Signature") == base64.b64encode(expected).decode()
    assert rejection(request, public_pem(), text) is None


@pytest.mark.parametrize(
    ("request_", "pem"),
    [
        pytest.param(lambda: signed(private_pem(1)), public_pem, id="another key"),
        pytest.param(lambda: Request("PUT", "/p", signed(private_pem()).headers), public_pem, id="another method"),
        pytest.param(
            lambda: Request("POST", "/p", (("X-Key", "K"), ("X-Signature", "AAAA"))), public_pem, id="no signature"
        ),
        pytest.param(
            lambda: Request("POST", "/p", (("X-Key", "K"), ("X-Signature", "A=A"))), public_pem, id="not base64"
        ),
        pytest.param(lambda: signed(private_pem()), lambda: "no PEM", id="a secret that is no key"),
        pytest.param(lambda: signed(private_pem()), encrypted_pem, id="a secret that is encrypted"),
        pytest.param(lambda: signed(private_pem()), elliptic_pem, id="a secret that is a key of another kind"),
    ],
)
def test_signature_of_another_key_is_rejected(request_: Callable[[], Request], pem: Pem):
    assert rejection(request_(), pem()) is Reason.BAD_SIGNATURE


def test_unknown_key_id_is_named():
    assert rejection(signed(private_pem()), public_pem(), key="other") is Reason.UNKNOWN_KEY


@pytest.mark.parametrize(
    "pem",
    [encrypted_pem, public_pem, elliptic_pem, lambda: "no PEM", lambda: "", lambda: RSA_DECOY.reveal()],
    ids=["encrypted", "public", "another kind", "no PEM", "nothing", "the decoy"],
)
def test_secret_that_cannot_sign_is_a_spec_error_without_the_secret(pem: Pem):
    with pytest.raises(SpecError) as caught:
        signed(pem())

    outcome = caught.value.outcome
    assert (outcome.reason, outcome.message) == (
        Reason.INTERNAL,
        "acme: the secret is not an RSA private key in PEM form",
    )
