"""The credentials that one recipe may be verified against."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gateway.core.http.request import Secret
from gateway.core.recipe.model import KeySlot, Recipe, SecretSlot

MAX_SECRETS_PER_KEY = 4

# Stands in for the secret of a key that is not known, so that such a request costs what a wrong signature costs.
DECOY = Secret("a key that nobody has")


@dataclass(frozen=True, slots=True)
class Credential:
    """A key id and its secret; `key` is None where a scheme has only a secret. `recipe` binds it to one recipe."""

    secret: Secret
    key: str | None = None
    recipe: str | None = None

    def serves(self, recipe: Recipe) -> bool:
        """Tell whether it fills exactly the slots of the recipe."""
        return self.recipe in (None, recipe.name) and recipe.needs_key == (self.key is not None)

    def misfits(self, recipe: Recipe) -> Iterator[KeySlot | SecretSlot]:
        """Yield each slot of the recipe whose `chars` do not allow what the credential has for it."""
        for slot in recipe.slots.values():
            if isinstance(slot, KeySlot) and self.key and not re.fullmatch(slot.chars, self.key):
                yield slot
            if isinstance(slot, SecretSlot) and not re.fullmatch(slot.chars, self.secret.reveal()):
                yield slot


@dataclass(frozen=True, slots=True)
class Keyring:
    """Secrets by key id, several of them while one replaces another, and lone secrets by their digest."""

    by_key: Mapping[str, tuple[Secret, ...]]
    by_digest: Mapping[bytes, Secret]

    def knows(self, key: str) -> bool:
        return key in self.by_key

    def to_try(self, key: str, decoy: Secret = DECOY) -> list[str]:
        """Return the secrets to try for a key, as many for each key, known or not, so that time tells nothing."""
        longest = max((len(secrets) for secrets in self.by_key.values()), default=1)
        secrets = [secret.reveal() for secret in self.by_key.get(key, ())]
        return secrets + [decoy.reveal()] * (longest - len(secrets))

    def secrets(self) -> list[Secret]:
        return [*self.by_digest.values(), *(secret for secrets in self.by_key.values() for secret in secrets)]

    def holds(self, text: str) -> bool:
        """Tell whether a text is one of the lone secrets; only digests are compared."""
        return digest_of(text) in self.by_digest


def digest_of(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def make_keyring(credentials: Iterable[Credential]) -> Keyring:
    """Sort credentials by how they are looked up."""
    by_key: dict[str, tuple[Secret, ...]] = {}
    by_digest: dict[bytes, Secret] = {}
    for credential in credentials:
        if credential.key is None:
            by_digest[digest_of(credential.secret.reveal())] = credential.secret
        else:
            by_key[credential.key] = (*by_key.get(credential.key, ()), credential.secret)
    return Keyring(by_key, by_digest)
