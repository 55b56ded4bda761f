import hashlib
import hmac

import pytest

from gateway.core.http.request import Secret
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.session_tokens import (
    Account,
    account_of_token,
    issue_token,
    make_account,
    make_accounts,
    revocation_key,
    token_expiry_ns,
)

NS = 1_000_000_000
NOW = 1_700_000_000 * NS
ENTROPY = bytes(range(16))
LIFETIME_S = 60.5
ADMIN = Credential(Secret("s"), "admin")
ACCOUNTS = make_accounts([ADMIN, Credential(Secret("t"), "other")], LIFETIME_S)


def account(credential: Credential = ADMIN) -> Account:
    return make_account(credential, LIFETIME_S)


def issued(credential: Credential = ADMIN, *, now_ns: int = NOW, lifetime_s: float = 60) -> str:
    return issue_token(account(credential), now_ns=now_ns, lifetime_s=lifetime_s, entropy=ENTROPY)[0]


def key_of(token: str, *, now_ns: int = NOW) -> str | None:
    credential = account_of_token(token, ACCOUNTS, now_ns=now_ns)
    return credential and credential.key


def test_token_has_its_expiry_account_and_mac():
    token, expires_ns = issue_token(account(), now_ns=NOW + 5, lifetime_s=LIFETIME_S, entropy=ENTROPY)

    signed = ENTROPY.hex() + f"{1_700_000_060:08x}" + hashlib.sha256(b"admin").hexdigest()[:8]
    key = hashlib.scrypt(b"s", salt=b"gateway session admin", n=16384, r=8, p=1, dklen=32)
    proof = hmac.new(key, signed.encode(), "sha256").hexdigest()
    assert (token, expires_ns) == (signed + proof[:32], NOW + 60 * NS)
    assert token_expiry_ns(token) == expires_ns


@pytest.mark.parametrize(
    ("credential", "key"), [(ADMIN, "admin"), (Credential(Secret("t"), "other"), "other")], ids=["one", "another"]
)
def test_token_belongs_to_its_account(credential: Credential, key: str):
    assert key_of(issued(credential)) == key


@pytest.mark.parametrize(
    ("after_ns", "key"), [(60 * NS - 1, "admin"), (60 * NS, None), (3600 * NS, None)], ids=["before", "at", "after"]
)
def test_token_expires_after_its_lifetime(after_ns: int, key: str | None):
    assert key_of(issued(), now_ns=NOW + after_ns) == key


@pytest.mark.parametrize(
    ("lifetime_s", "key"),
    [(60, "admin"), (61, None), (0xFFFFFFFF - NOW // NS, None)],
    ids=["the lifetime", "a second more", "the year 2106"],
)
def test_token_that_is_valid_for_longer_than_the_lifetime_is_rejected(lifetime_s: float, key: str | None):
    assert key_of(issued(lifetime_s=lifetime_s)) == key


def test_key_of_an_account_is_derived_once():
    one, again = (make_account(Credential(Secret("a password"), "a"), 60) for _ in range(2))
    other = make_account(Credential(Secret("a password"), "b"), 60)

    assert one.session_key is again.session_key
    assert one.session_key != other.session_key


def test_key_of_an_account_is_not_shown():
    assert account().session_key.hex() not in repr(account())
    assert repr(account().session_key) not in repr(account())


def edited(position: int) -> str:
    token = issued()
    return token[:position] + ("1" if token[position] == "0" else "0") + token[position + 1 :]


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(edited(0), id="another number"),
        pytest.param(issued()[:32] + "ffffffff" + issued()[40:], id="a later end"),
        pytest.param(edited(40), id="another account"),
        pytest.param(edited(48), id="another proof"),
        pytest.param(edited(79), id="another proof at its end"),
        pytest.param(issued().upper(), id="in capitals"),
        pytest.param(issued()[:-1], id="cut"),
        pytest.param(issued() + "0", id="longer"),
        pytest.param(issued() + "\n", id="with a line end"),
        pytest.param("", id="nothing"),
        pytest.param("\udcff" * 80, id="no text"),
    ],
)
def test_forged_token_belongs_to_no_account(token: str):
    assert account_of_token(token, ACCOUNTS, now_ns=NOW) is None


@pytest.mark.parametrize(
    "credential",
    [Credential(Secret("s"), "nobody"), Credential(Secret("new"), "admin"), Credential(Secret("t"), "admin")],
    ids=["an account unknown", "another secret", "the secret of another account"],
)
def test_token_of_another_account_or_secret_belongs_to_no_account(credential: Credential):
    assert account_of_token(issued(credential), ACCOUNTS, now_ns=NOW) is None


def test_tokens_of_both_secrets_are_accepted_during_a_rotation():
    new = Credential(Secret("new"), "admin")
    accounts = make_accounts([ADMIN, new], LIFETIME_S)

    assert account_of_token(issued(ADMIN), accounts, now_ns=NOW) == ADMIN
    assert account_of_token(issued(new), accounts, now_ns=NOW) == new


def test_two_logins_make_two_tokens():
    other, _ = issue_token(account(), now_ns=NOW, lifetime_s=60, entropy=bytes(16))

    assert other != issued()


def test_revocation_key_does_not_contain_the_token():
    kind, digest = revocation_key(issued())

    assert kind == "ended"
    assert digest == hashlib.sha256(issued().encode()).hexdigest()
    assert revocation_key(edited(0)) != revocation_key(issued())


def test_text_that_is_not_a_token_has_no_expiry():
    assert token_expiry_ns("no token") == 0
