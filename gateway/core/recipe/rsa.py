"""RSA signatures (PKCS #1 v1.5). They need the extra `rsa`, which is imported when a recipe first uses it."""

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

# A public key whose private key was deleted; see `keyring.DECOY`.
DECOY_PEM = """-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAufZvSS7dwT8cnNIWEzpz
8BKR7OVwqr3GdD0y720E2H/8ZUQH6TebDQbqVmPdIkQ9aQl8+tLI4EEgVFsqXeYr
VJZm4Bkm+nUflBoum8Ahfv1qZmUDaBhH7qymcOwG/A34nJPecBlEu3LidHfv6k0U
cd+8cVsHoF6ld1l6QD3QIY5ftCKkWkZsCQJ7ze/holXMqPu/8Nc/DJ3ChaJhXmF5
PuaQbsrW9rzsp3pIzS+POD7xNZOHIj+4x5OASn1kmJuH9VPWAABu8njcR9txTiE5
X5bZ5mQhUiqplpSjBxkfhq10GSsgCpsxIEHGOuXyJJcfi7lLJSGMVTtvr7LKCmcx
ZQIDAQAB
-----END PUBLIC KEY-----
"""
MAX_CACHED_KEYS = 256


def rsa_sign(pem: str, data: bytes, hash_name: str) -> bytes:
    """Sign with a private key. Raises ValueError or TypeError if the PEM is not an unencrypted RSA private key."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    return _private_key(pem).sign(data, padding.PKCS1v15(), getattr(hashes, hash_name.upper())())


def rsa_verify(pem: str, data: bytes, signature: bytes, hash_name: str) -> bool:
    """Check a signature with a public key, or that of a private key. Raises ValueError or TypeError like `rsa_sign`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    try:
        _public_key(pem).verify(signature, data, padding.PKCS1v15(), getattr(hashes, hash_name.upper())())
    except InvalidSignature:
        return False
    return True


# Loading a private key validates it completely: 30 ms, a hundred times the cost of a signature.
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
