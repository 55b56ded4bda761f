"""Session tokens that the gateway issues in a vendor's place. They are self-contained: issuing one stores nothing.

A token is 32 random hex digits, 8 of its expiry, 8 that identify the account, and 32 of an HMAC. The key of the HMAC is
derived from the account's secret by scrypt (RFC 7914), which makes guessing the secret from a token expensive. Tokens
are valid after a restart and in every worker. Only revocations are stored, see `revocation_key`.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from gateway.core.http.request import Secret
from gateway.core.moments import NS
from gateway.core.recipe.keyring import Credential

_TOKEN = re.compile(r"([0-9a-f]{32})([0-9a-f]{8})([0-9a-f]{8})([0-9a-f]{32})")
# The number of accounts whose session keys are cached between loads.
_KEPT_KEYS = 4096


@dataclass(frozen=True, slots=True)
class Account:
    """A credential that may log in. `session_key` authenticates its tokens, which last for `lifetime_s`."""

    credential: Credential
    lifetime_s: float
    session_key: bytes = field(repr=False)


Accounts = Mapping[str, tuple[Account, ...]]


def make_account(credential: Credential, lifetime_s: float) -> Account:
    """Derive the session key of a credential. It takes some 50 ms, unless an earlier load derived it."""
    return Account(credential, lifetime_s, _session_key(credential.key or "", credential.secret))


def make_accounts(credentials: Iterable[Credential], lifetime_s: float) -> Accounts:
    """Index the accounts that may log in by the mark in their tokens."""
    accounts: dict[str, tuple[Account, ...]] = {}
    for credential in credentials:
        mark = _mark(credential.key or "")
        accounts[mark] = (*accounts.get(mark, ()), make_account(credential, lifetime_s))
    return accounts


def issue_token(account: Account, *, now_ns: int, lifetime_s: float, entropy: bytes) -> tuple[str, int]:
    """Return a token for an account and its expiry in nanoseconds. `entropy` is 16 random bytes."""
    expires_s = now_ns // NS + int(lifetime_s)
    signed = f"{entropy.hex()}{expires_s:08x}{_mark(account.credential.key or '')}"
    return signed + _mac(signed, account), expires_s * NS


def account_of_token(token: str, accounts: Accounts, *, now_ns: int) -> Credential | None:
    """Return the credential that a token was issued to.

    Returns None for a token that was not issued here, has expired, or is valid for longer than the account's lifetime.
    """
    parts = _TOKEN.fullmatch(token)
    if parts is None or int(parts[2], 16) * NS <= now_ns:
        return None
    left_s = int(parts[2], 16) - now_ns // NS
    for account in accounts.get(parts[3], ()):
        if hmac.compare_digest(_mac(token[:48], account), parts[4]):
            return account.credential if left_s <= int(account.lifetime_s) else None
    return None


def revocation_key(token: str) -> tuple[str, ...]:
    """Return the entry of a revoked token in the replay memory: a digest, not the token."""
    return ("ended", hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest())


def token_expiry_ns(token: str) -> int:
    """Return the expiry of a token that was issued here."""
    parts = _TOKEN.fullmatch(token)
    return int(parts[2], 16) * NS if parts else 0


def _mark(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:8]


def _mac(text: str, account: Account) -> str:
    return hmac.new(account.session_key, text.encode(), "sha256").hexdigest()[:32]


@lru_cache(_KEPT_KEYS)
def _session_key(key: str, secret: Secret) -> bytes:
    salt = b"gateway session " + key.encode()
    return hashlib.scrypt(secret.reveal().encode(), salt=salt, n=2**14, r=8, p=1, dklen=32)
