"""Sessions that the gateway issues in a vendor's place: they carry their own proof, so that nothing is stored.

A token is 32 random hex digits, 8 of its expiry, 8 that tell the account, and 32 of an HMAC. The key of the HMAC is
derived from the account's secret by scrypt (RFC 7914), so that guessing the secret from a token is expensive.
It survives a restart, and every worker knows it. That one was ended early is remembered, see `revocation_key`.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from gateway.core.http.request import Secret
from gateway.core.recipe.keyring import Credential

NS = 1_000_000_000
_TOKEN = re.compile(r"([0-9a-f]{32})([0-9a-f]{8})([0-9a-f]{8})([0-9a-f]{32})")
# Accounts whose session keys are kept for later loads.
_KEPT_KEYS = 4096


@dataclass(frozen=True, slots=True)
class Account:
    """A credential that may log in. `session_key` authenticates its tokens; `lifetime_s` is how long they may last."""

    credential: Credential
    lifetime_s: float
    session_key: bytes = field(repr=False)


Accounts = Mapping[str, tuple[Account, ...]]


def make_account(credential: Credential, lifetime_s: float) -> Account:
    """Derive the session key of a credential. It takes some 50 ms, except for a credential of an earlier load."""
    return Account(credential, lifetime_s, _session_key(credential.key or "", credential.secret))


def make_accounts(credentials: Iterable[Credential], lifetime_s: float) -> Accounts:
    """Sort the accounts that may log in by the mark that their tokens carry."""
    accounts: dict[str, tuple[Account, ...]] = {}
    for credential in credentials:
        mark = _mark(credential.key or "")
        accounts[mark] = (*accounts.get(mark, ()), make_account(credential, lifetime_s))
    return accounts


def issue_token(account: Account, *, now_ns: int, lifetime_s: float, entropy: bytes) -> tuple[str, int]:
    """Return a token for an account, from 16 random bytes, and when it ends, in nanoseconds."""
    expires_s = now_ns // NS + int(lifetime_s)
    signed = f"{entropy.hex()}{expires_s:08x}{_mark(account.credential.key or '')}"
    return signed + _mac(signed, account), expires_s * NS


def account_of_token(token: str, accounts: Accounts, *, now_ns: int) -> Credential | None:
    """Return the credential that a token was issued to.

    Returns None for a token that was not issued here, has ended, or is valid for longer than its account's lifetime.
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
    """Return what is remembered of a token that was ended: not the token itself."""
    return ("ended", hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest())


def token_expiry_ns(token: str) -> int:
    """Return when a token that was issued here ends by itself."""
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
