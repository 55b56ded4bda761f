from gateway.core.http.request import Secret
from gateway.core.recipe.keyring import Credential
from gateway.core.vendor.verifiers import make_verifiers
from gateway.specs.load import load

RECEIVE = load(None, {}).providers["zstack"].receive
ACCOUNT = Credential(Secret("password"), "admin")
SESSION = Credential(Secret("session"))


def checked(*credentials: Credential) -> dict[str, tuple[bool, bool]]:
    """Return for each recipe that is accepted whether it has credentials of its own, and whether accounts log in."""
    assert RECEIVE is not None
    checks = make_verifiers(RECEIVE, RECEIVE.verify, credentials, {})
    return {check.recipe.name: (bool(check.keyring.secrets()), bool(check.accounts)) for check in checks}


def test_recipe_is_accepted_with_the_credentials_that_fill_its_slots():
    assert checked(SESSION) == {"zstack-session": (True, False)}


def test_account_logs_in_for_the_recipe_whose_session_it_is_given():
    assert checked(ACCOUNT) == {"zstack-session": (False, True), "zstack-access-key": (True, False)}


def test_account_has_the_lifetime_of_the_call_that_issues_its_sessions():
    assert RECEIVE is not None
    [check] = make_verifiers(RECEIVE, RECEIVE.verify[:1], [ACCOUNT], {})

    assert [account.lifetime_s for accounts in check.accounts.values() for account in accounts] == [7200]


def test_credential_of_another_recipe_is_accepted_by_none():
    assert checked(Credential(Secret("x"), "k", "another")) == {}
