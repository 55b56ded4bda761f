"""Calls that carry no data points and are answered here: logging in, logging out, and the like."""

from dataclasses import dataclass

from gateway.core.http.received import Message
from gateway.core.http.request import Response, Secret
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.core.outcome.reply import build_local_reply
from gateway.core.pipeline import identify_caller, request_names
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.session_tokens import Account, account_of_token, issue_token, revocation_key, token_expiry_ns
from gateway.core.recipe.verify import ReplayMemory, Verified
from gateway.core.vendor.provider import LocalCall
from gateway.core.vendor.route import Source
from gateway.core.vendor.routing import RouteMatch

_ANYBODY = Account(Credential(Secret("")), 0, b"")


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What an answer depends on beside the request: the clock, 16 random bytes, our own id for the request."""

    now_ns: int
    entropy: bytes
    request_id: str


def answer_local_call(
    match: RouteMatch,
    call: LocalCall,
    message: Message,
    moment: RequestContext,
    replays: ReplayMemory,
    *,
    peer: str | None = None,
) -> Response:
    """Verify the call, issue or end a session where it says so, and reply. Raises CallerError."""
    source = match.route.source
    checks = source.local_checks[match.form.name if match.form else ""]
    who = identify_caller(source, checks, message, now_ns=moment.now_ns, replays=replays, peer=peer)
    names = request_names(match, message, who) | {"request_id": moment.request_id, "token": None, "expires_ns": None}
    if call.issues is not None:
        account = _account(source, call.issues, who)
        names["token"], names["expires_ns"] = issue_token(
            account, now_ns=moment.now_ns, lifetime_s=call.lifetime_s, entropy=moment.entropy
        )
    if call.ends is not None:
        _end(source, call.ends, match.captured.get("token", ""), moment.now_ns, replays)
    return build_local_reply(call.reply, names, moment.request_id)


def _account(source: Source, recipe: str, who: Verified) -> Account:
    """Return the account that logged in. Raises CallerError where the account may not log in here.

    Where whoever reports is believed, anyone may log in: no session is asked for afterwards.
    """
    if source.checks is None:
        return _ANYBODY
    for check in source.checks:
        if check.recipe.name == recipe:
            for account in (account for accounts in check.accounts.values() for account in accounts):
                if account.credential.key == who.key and who.secret in (None, account.credential.secret):
                    return account
    raise CallerError.of(Reason.NOT_ALLOWED, "nobody can log in here")


def _end(source: Source, recipe: str, token: str, now_ns: int, replays: ReplayMemory) -> None:
    """Remember that a session has ended; only one that was issued here and still lives is worth the memory."""
    for check in source.checks or ():
        account = account_of_token(token, check.accounts, now_ns=now_ns) if check.recipe.name == recipe else None
        if account is not None:
            replays.remember(revocation_key(token), token_expiry_ns(token), owner=account.key or "")
