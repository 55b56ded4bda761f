from gateway.core.http.request import Secret
from gateway.core.recipe.keyring import Credential
from gateway.core.vendor.verifiers import make_verifiers
from gateway.specs.load import load

RECEIVE = load(None, {}).providers["zstack"].receive
ACCOUNT = Credential(Secret("password"), "admin")
SESSION = Credential(Secret("session"))


def checked(*credentials: Credential) -> dict[str, tuple[bool, bool]]:
    """Map each accepted recipe to whether it has credentials, and whether it has accounts."""
    assert RECEIVE is not None
    verifiers = make_verifiers(RECEIVE, RECEIVE.verify, credentials, {})
    return {check.recipe.name: (bool(check.keyring.secrets()), bool(check.accounts)) for check in verifiers}


def test_recipe_is_accepted_with_credentials_for_its_slots():
    assert checked(SESSION) == {"zstack-session": (True, False)}


def test_account_may_log_in_for_the_recipe_of_its_session():
    assert checked(ACCOUNT) == {"zstack-session": (False, True), "zstack-access-key": (True, False)}


def test_account_has_the_lifetime_of_the_call_that_issues_its_sessions():
    assert RECEIVE is not None
    [check] = make_verifiers(RECEIVE, RECEIVE.verify[:1], [ACCOUNT], {})

    assert [account.lifetime_s for accounts in check.accounts.values() for account in accounts] == [7200]


def test_credential_of_an_unknown_recipe_makes_no_verifier():
    assert checked(Credential(Secret("x"), "k", "another")) == {}
