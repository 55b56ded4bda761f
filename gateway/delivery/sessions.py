"""Sessions that upstreams want: got by logging in, kept in memory, one login at a time for each credential."""

import asyncio
import time
from dataclasses import dataclass
from uuid import uuid4

from cachetools import LRUCache

from gateway.core.http.request import Secret
from gateway.core.http.url import address_of
from gateway.core.outcome.errors import UpstreamError
from gateway.core.outcome.outcome import Outcome, Reason
from gateway.core.sending.sign import login_request, login_token, sign_by
from gateway.core.vendor.provider import Login
from gateway.core.vendor.route import Target
from gateway.delivery.courier import Courier, fresh
from gateway.delivery.deadline import Deadline

MAX_SESSIONS = 10_000
# A session is renewed before its end: in between lie a clock that differs, and a call that takes its time.
RENEW_AT = 0.8
# After a login that failed, how long its failure is the answer to all who wait.
RETRY_AFTER_S = 1.0


@dataclass(slots=True)
class _Session:
    """A token and when to renew it, by the monotonic clock; None while nobody has logged in.

    `failure` is told to whoever waited for the same login, and tried again from `retry_at` on.
    """

    lock: asyncio.Lock
    token: Secret | None = None
    renew_at: float = 0
    failure: Outcome | None = None
    retry_at: float = 0


class Sessions:
    """Logs in where a target wants a session, and keeps what it got. Lives across reloads."""

    def __init__(self, courier: Courier) -> None:
        self._courier = courier
        self._sessions: LRUCache[tuple[str, ...], _Session] = LRUCache(MAX_SESSIONS)

    async def token_for(self, target: Target, login: Login, deadline: Deadline) -> Secret:
        """Return a live token. However many wait for one, one logs in. Raises UpstreamError or SpecError."""
        session = self._sessions.setdefault(_identity(target, login), _Session(asyncio.Lock()))
        try:
            async with asyncio.timeout(deadline.left_s()), session.lock:
                if session.token is None or time.monotonic() >= session.renew_at:
                    await self._renew(session, target, login, deadline)
                assert session.token is not None
                return session.token
        except TimeoutError:
            raise UpstreamError.of(Reason.UPSTREAM_TIMEOUT, "logging in took too long") from None

    async def _renew(self, session: _Session, target: Target, login: Login, deadline: Deadline) -> None:
        session.token = None
        if session.failure is not None and time.monotonic() < session.retry_at:
            raise UpstreamError(session.failure)
        try:
            session.token = await self._log_in(target, login, deadline)
        except UpstreamError as error:
            session.failure, session.retry_at = error.outcome, time.monotonic() + RETRY_AFTER_S
            raise
        session.failure = None
        session.renew_at = time.monotonic() + RENEW_AT * login.lifetime_s

    def drop(self, target: Target, login: Login, token: Secret) -> None:
        """Forget a token that the upstream no longer takes, unless another has come in its place."""
        session = self._sessions.get(_identity(target, login))
        if session is not None and session.token == token:
            session.token = None

    async def _log_in(self, target: Target, login: Login, deadline: Deadline) -> Secret:
        draft = login_request(target, login, now_ns=time.time_ns(), call_id=uuid4().hex)
        signed = sign_by(login.sign, target, draft, fresh())
        # It may be a mere hash of the password, which is as good as the password.
        self._courier.watcher.learned(Secret(signed.evaluation.signature))
        answer = await self._courier.send("login", target, signed, deadline)
        token = login_token(login, answer)
        if token is None:
            where = address_of(signed.request.scheme, signed.request.host)
            raise UpstreamError.of(Reason.UPSTREAM_AUTH, f"logging in to {where} failed (status {answer.status})")
        self._courier.watcher.learned(Secret(token))
        return Secret(token)


def _identity(target: Target, login: Login) -> tuple[str, ...]:
    return (*target.account, login.sign.name)
