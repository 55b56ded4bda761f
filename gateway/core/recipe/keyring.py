"""The credentials that one recipe is verified against."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gateway.core.http.request import Secret
from gateway.core.recipe.model import KeySlot, Recipe, SecretSlot

MAX_SECRETS_PER_KEY = 4

# The secret of an unknown key: such a request costs the same as one with a wrong signature.
DECOY = Secret("the decoy secret")


@dataclass(frozen=True, slots=True)
class Credential:
    """A key id and its secret; `key` is None if a scheme has only a secret. `recipe` restricts it to one recipe."""

    secret: Secret
    key: str | None = None
    recipe: str | None = None

    def serves(self, recipe: Recipe) -> bool:
        """True if it has a value for exactly the key and secret slots of the recipe."""
        return self.recipe in (None, recipe.name) and recipe.needs_key == (self.key is not None)

    def misfits(self, recipe: Recipe) -> Iterator[KeySlot | SecretSlot]:
        """Yield each slot of the recipe whose `chars` do not match the credential."""
        if recipe.key and self.key and not re.fullmatch(recipe.key.chars, self.key):
            yield recipe.key
        if recipe.secret and not re.fullmatch(recipe.secret.chars, self.secret.reveal()):
            yield recipe.secret


@dataclass(frozen=True, slots=True)
class Keyring:
    """Secrets by key id, several during a key rotation, and secrets without a key by their digest."""

    by_key: Mapping[str, tuple[Secret, ...]]
    by_digest: Mapping[bytes, Secret]

    def secrets_to_try(self, key: str, decoy: Secret = DECOY) -> list[str]:
        """Return equally many secrets for every key, known or not: the time of a check must not reveal a key."""
        most = max((len(secrets) for secrets in self.by_key.values()), default=1)
        secrets = [secret.reveal() for secret in self.by_key.get(key, ())]
        return secrets + [decoy.reveal()] * (most - len(secrets))

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
