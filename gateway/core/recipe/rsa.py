"""RSA signatures (PKCS #1 v1.5), by the extra `rsa`; the package is imported when a recipe first needs it."""

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

# The public half of a key whose private half nobody kept; see `keyring.DECOY`.
DECOY_PEM = """-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAt195LPGZ7WcpqwU29AfJ
Pib/NfYNVcTPWZNUAqtrCMjIAjt8J623V62HZJ1VD3weroZBgSSKwAwbl5H7tbit
tv+EPwF5P9zczKXMtHnuqVKBgjBYCNH+HrmEne1gEsF5ALiC74JnCtI3nuG9Dx6o
ICKKMwlUxcodY1rPeTo2CMf5f7gS4mJlJzuLIyisCpowL7LquV6s9Ht2s1/ini00
3f/Rc1CYa8f4jyZ74NNMt8U8zJuyezqM0uYL7vKGqR6woC9cFRVub7s97O8AYznl
sfP9VI5p+Urnq5s7tCpV0DqAwSPhz2N30QdfDDVCxUgmEqY+MTcuRLfzyhfU0efW
gQIDAQAB
-----END PUBLIC KEY-----
"""
MAX_CACHED_KEYS = 256


def rsa_sign(pem: str, data: bytes, hash_name: str) -> bytes:
    """Sign with a private key. Raises ValueError for what is none."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    return _private_key(pem).sign(data, padding.PKCS1v15(), getattr(hashes, hash_name.upper())())


def rsa_verifies(pem: str, data: bytes, signature: bytes, hash_name: str) -> bool:
    """Check a signature against a public key, or that of a private key. Raises ValueError for what is neither."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    try:
        _public_key(pem).verify(signature, data, padding.PKCS1v15(), getattr(hashes, hash_name.upper())())
    except InvalidSignature:
        return False
    return True


# Reading a private key takes some 30 ms, a hundred times what a signature does, since all of it is checked.
@lru_cache(MAX_CACHED_KEYS)
def _private_key(pem: str) -> "RSAPrivateKey":
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(pem.encode(), None)
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("not an RSA key")
    return key


@lru_cache(MAX_CACHED_KEYS)
def _public_key(pem: str) -> "RSAPublicKey":
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if "PRIVATE KEY" in pem:
        return _private_key(pem).public_key()
    key = load_pem_public_key(pem.encode())
    if not isinstance(key, RSAPublicKey):
        raise ValueError("not an RSA key")
    return key
