"""Credentials, and the keyring of those that one recipe is verified with.

RSA keys need the extra `rsa`, which is imported when a recipe first uses one.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from gateway.core.http.request import Secret
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.slots import KeySlot, SecretSlot

MAX_SECRETS_PER_KEY = 4

# The secret of an unknown key: such a request costs the same as one with a wrong signature.
DECOY = Secret("the decoy secret")
# A public key whose private key was deleted.
RSA_DECOY = Secret("""-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAufZvSS7dwT8cnNIWEzpz
8BKR7OVwqr3GdD0y720E2H/8ZUQH6TebDQbqVmPdIkQ9aQl8+tLI4EEgVFsqXeYr
VJZm4Bkm+nUflBoum8Ahfv1qZmUDaBhH7qymcOwG/A34nJPecBlEu3LidHfv6k0U
cd+8cVsHoF6ld1l6QD3QIY5ftCKkWkZsCQJ7ze/holXMqPu/8Nc/DJ3ChaJhXmF5
PuaQbsrW9rzsp3pIzS+POD7xNZOHIj+4x5OASn1kmJuH9VPWAABu8njcR9txTiE5
X5bZ5mQhUiqplpSjBxkfhq10GSsgCpsxIEHGOuXyJJcfi7lLJSGMVTtvr7LKCmcx
ZQIDAQAB
-----END PUBLIC KEY-----
""")
MAX_CACHED_RSA_KEYS = 256


@dataclass(frozen=True, slots=True)
class Credential:
    """A key id and its secret; `key` is None if a scheme has only a secret. `recipe` restricts it to one recipe."""

    secret: Secret
    key: str | None = None
    recipe: str | None = None

    def serves(self, recipe: Recipe) -> bool:
        """True if it has a value for exactly the key and secret slots of the recipe."""
        return self.recipe in (None, recipe.name) and (recipe.key is None) == (self.key is None)

    def misfits(self, recipe: Recipe) -> Iterator[KeySlot | SecretSlot]:
        """Yield each slot of the recipe whose `chars` do not match the credential."""
        if recipe.key and self.key and not re.fullmatch(recipe.key.chars, self.key):
            yield recipe.key
        if recipe.secret and not re.fullmatch(recipe.secret.chars, self.secret.reveal()):
            yield recipe.secret


@dataclass(frozen=True, slots=True)
class Keyring:
    """Secrets by key id, several during a key rotation, and secrets without a key by their digest.

    `most` is the largest number of secrets of one key.
    """

    by_key: Mapping[str, tuple[Secret, ...]]
    by_digest: Mapping[bytes, Secret]
    most: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "most", max((len(secrets) for secrets in self.by_key.values()), default=1))

    def secrets_to_try(self, key: str, decoy: Secret = DECOY) -> list[str]:
        """Return equally many secrets for every key, known or not: the time of a check must not reveal a key."""
        secrets = [secret.reveal() for secret in self.by_key.get(key, ())]
        return secrets + [decoy.reveal()] * (self.most - len(secrets))

    def secrets(self) -> list[Secret]:
        return [*self.by_digest.values(), *(secret for secrets in self.by_key.values() for secret in secrets)]

    def has_secret(self, text: str) -> bool:
        """True if the text is one of the secrets without a key. Only digests are compared."""
        return digest_of(text) in self.by_digest


def digest_of(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def make_keyring(credentials: Iterable[Credential]) -> Keyring:
    by_key: dict[str, tuple[Secret, ...]] = {}
    by_digest: dict[bytes, Secret] = {}
    for credential in credentials:
        if credential.key is None:
            by_digest[digest_of(credential.secret.reveal())] = credential.secret
        else:
            by_key[credential.key] = (*by_key.get(credential.key, ()), credential.secret)
    return Keyring(by_key, by_digest)


def rsa_sign(pem: str, data: bytes, hash_name: str) -> bytes:
    """Sign by PKCS #1 v1.5. Raises ValueError or TypeError if the PEM is not an unencrypted RSA private key."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

    signature: bytes = _rsa_key(pem, True).sign(data, PKCS1v15(), getattr(hashes, hash_name.upper())())
    return signature


def rsa_verify(pem: str, data: bytes, signature: bytes, hash_name: str) -> bool:
    """Check a signature with a public key, or that of a private key. Raises ValueError or TypeError like `rsa_sign`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

    key = _rsa_key(pem, True).public_key() if "PRIVATE KEY" in pem else _rsa_key(pem, False)
    try:
        key.verify(signature, data, PKCS1v15(), getattr(hashes, hash_name.upper())())
    except InvalidSignature:
        return False
    return True


# Loading a private key validates it completely: 30 ms, a hundred times the cost of a signature.
@lru_cache(MAX_CACHED_RSA_KEYS)
def _rsa_key(pem: str, private: bool) -> Any:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

    key = load_pem_private_key(pem.encode(), None) if private else load_pem_public_key(pem.encode())
    if not isinstance(key, RSAPrivateKey | RSAPublicKey):
        raise ValueError("not an RSA key")
    return key
