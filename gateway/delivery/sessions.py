"""Upstream sessions: obtained by login, kept in memory, with one login at a time per credential."""

import asyncio
import time
from dataclasses import dataclass, field
from uuid import uuid4

from cachetools import LRUCache

from gateway.core.http.request import Secret
from gateway.core.http.url import address_of
from gateway.core.outcome.errors import UpstreamError
from gateway.core.outcome.outcome import Outcome, Reason
from gateway.core.sending.sign import login_request, login_token, sign_call
from gateway.core.vendor.provider import Login
from gateway.core.vendor.route import Target
from gateway.delivery.transport import Deadline, Transport, fresh

MAX_SESSIONS = 10_000
# Renewed before the end of its lifetime: clocks differ, and a call takes time.
RENEW_AT = 0.8
# For this long, a failed login is the answer to all calls that waited for it.
RETRY_AFTER_S = 1.0


@dataclass(slots=True)
class _Session:
    """A token with its renewal time, or the failure of the last login. Times are monotonic seconds."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    token: Secret | None = None
    renew_at: float = 0
    failure: Outcome | None = None
    retry_at: float = 0

    @property
    def live_token(self) -> Secret | None:
        return self.token if time.monotonic() < self.renew_at else None


class Sessions:
    """Logs in where a target requires it, and keeps the tokens. Survives reloads."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._sessions: LRUCache[tuple[str, ...], _Session] = LRUCache(MAX_SESSIONS)

    async def token_for(self, target: Target, login: Login, deadline: Deadline) -> Secret:
        """Return a live token; log in first if necessary. Raises UpstreamError or SpecError."""
        identity = _identity(target, login)
        session = self._sessions.get(identity) or self._sessions.setdefault(identity, _Session())
        if (token := session.live_token) is not None:
            return token
        try:
            async with asyncio.timeout(deadline.left_s()), session.lock:
                if (token := session.live_token) is not None:
                    return token
                if session.failure is not None and time.monotonic() < session.retry_at:
                    raise UpstreamError(session.failure)
                try:
                    token = await self._log_in(target, login, deadline)
                except UpstreamError as error:
                    session.failure, session.retry_at = error.outcome, time.monotonic() + RETRY_AFTER_S
                    raise
                session.token, session.failure = token, None
                session.renew_at = time.monotonic() + RENEW_AT * login.lifetime_s
                return token
        except TimeoutError:
            raise UpstreamError.of(Reason.UPSTREAM_TIMEOUT, "the login took too long") from None

    def drop(self, target: Target, login: Login, token: Secret) -> None:
        """Forget a token that the upstream rejects, unless it was replaced already."""
        session = self._sessions.get(_identity(target, login))
        if session is not None and session.token == token:
            session.token = None

    async def _log_in(self, target: Target, login: Login, deadline: Deadline) -> Secret:
        request = login_request(target, login, now_ns=time.time_ns(), call_id=uuid4().hex)
        signed = sign_call(target, login.sign, request, fresh())
        observer = self._transport.observer
        if observer is not None:
            observer.on_secret(Secret(signed.signature))  # may be a hash of the password
        answer = await self._transport.send("login", target, signed, deadline)
        token = login_token(login, answer)
        if token is None:
            where = address_of(signed.request.scheme, signed.request.host)
            raise UpstreamError.of(Reason.UPSTREAM_AUTH, f"login to {where} failed (status {answer.status})")
        if observer is not None:
            observer.on_secret(Secret(token))
        return Secret(token)


def _identity(target: Target, login: Login) -> tuple[str, ...]:
    return (*target.account, login.sign.name)
