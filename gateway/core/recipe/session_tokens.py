"""Sessions that the gateway issues in a vendor's place: they carry their own proof, so that nothing is stored.

A token is 32 random hex digits, 8 of its expiry, 8 that tell the account, and 32 of an HMAC under the account's secret.
It survives a restart, and every worker knows it. That one was ended early is remembered, see `revocation_key`.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping

from gateway.core.http.request import Secret
from gateway.core.recipe.keyring import Credential

NS = 1_000_000_000
_TOKEN = re.compile(r"([0-9a-f]{32})([0-9a-f]{8})([0-9a-f]{8})([0-9a-f]{32})")


Accounts = Mapping[str, tuple[Credential, ...]]


def make_accounts(credentials: Iterable[Credential]) -> Accounts:
    """Sort the accounts that may log in by the mark that their tokens carry."""
    accounts: dict[str, tuple[Credential, ...]] = {}
    for credential in credentials:
        mark = _mark(credential.key or "")
        accounts[mark] = (*accounts.get(mark, ()), credential)
    return accounts


def issue_token(credential: Credential, *, now_ns: int, lifetime_s: float, entropy: bytes) -> tuple[str, int]:
    """Return a token for an account, from 16 random bytes, and when it ends, in nanoseconds."""
    expires_s = now_ns // NS + int(lifetime_s)
    signed = f"{entropy.hex()}{expires_s:08x}{_mark(credential.key or '')}"
    return signed + _mac(signed, credential.secret), expires_s * NS


def account_of_token(token: str, accounts: Accounts, *, now_ns: int) -> Credential | None:
    """Return the account that a token was issued to; None for a token of nobody's, or one that has ended."""
    parts = _TOKEN.fullmatch(token)
    if parts is None or int(parts[2], 16) * NS <= now_ns:
        return None
    for credential in accounts.get(parts[3], ()):
        if hmac.compare_digest(_mac(token[:48], credential.secret), parts[4]):
            return credential
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


def _mac(text: str, secret: Secret) -> str:
    # Another text than any vendor's signature covers: a token cannot be taken for one, nor one for a token.
    return hmac.new(secret.reveal().encode(), b"gateway session " + text.encode(), "sha256").hexdigest()[:32]
