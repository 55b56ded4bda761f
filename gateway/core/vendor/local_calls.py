"""Sessions of local calls: login issues a session token, logout revokes it."""

from gateway.core.context import RequestContext
from gateway.core.http.request import Secret
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.session_tokens import Account, account_of_token, issue_token, revocation_key, token_expiry_ns
from gateway.core.recipe.verify import Verified
from gateway.core.vendor.provider import LocalCall
from gateway.core.vendor.route import Source

_ANY_ACCOUNT = Account(Credential(Secret("")), 0, b"")


def issue_session(source: Source, call: LocalCall, caller: Verified, context: RequestContext) -> tuple[str, int]:
    """Return a session token for the caller and its expiry in nanoseconds. Raises CallerError without an account.

    With `credentials: none`, login always succeeds.
    """
    if source.verifiers is None:
        account = _ANY_ACCOUNT
    else:
        verifiers = [verifier for verifier in source.verifiers if verifier.recipe.name == call.issues]
        accounts = [each for verifier in verifiers for same_mark in verifier.accounts.values() for each in same_mark]
        known = [each for each in accounts if each.credential.key == caller.key]
        mine = next((each for each in known if caller.secret in (None, each.credential.secret)), None)
        if mine is None:
            raise CallerError.of(Reason.NOT_ALLOWED, "this account cannot log in here")
        account = mine
    return issue_token(account, now_ns=context.now_ns, lifetime_s=call.lifetime_s, entropy=context.entropy)


def revoke_session(source: Source, recipe: str, token: str, context: RequestContext) -> None:
    """Store the revocation of a session. Tokens that are expired or not issued here take no memory."""
    for verifier in source.verifiers or ():
        if verifier.recipe.name == recipe:
            account = account_of_token(token, verifier.accounts, now_ns=context.now_ns)
            if account is not None:
                context.replays.remember(revocation_key(token), token_expiry_ns(token), owner=account.key or "")
