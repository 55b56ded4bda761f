"""Sends signed requests to a target within the deadline of a delivery, and shows each exchange to an observer."""

import os
import random
import time
from collections.abc import Awaitable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any, Literal, Protocol, Self

from gateway.core.http.request import Response, Secret
from gateway.core.outcome.errors import UpstreamError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.sign import Signed, SigningContext
from gateway.core.record import record
from gateway.core.sending.encode import EncodeContext
from gateway.core.vendor.route import Target
from gateway.delivery.client import Sender, Timeouts
from gateway.tls import target_context

Purpose = Literal["call", "declare", "login", "poll"]

_NOT_PINNED: Mapping[str, str] = MappingProxyType({})


@record
class Deadline:
    """A delivery must end at `end` (monotonic clock), `timeout_s` after it began."""

    end: float
    timeout_s: float

    @classmethod
    def after(cls, timeout_s: float) -> Self:
        return cls(time.monotonic() + timeout_s, timeout_s)

    def left_s(self) -> float:
        """Return the remaining seconds. Raises UpstreamError if there are none."""
        left_s = self.end - time.monotonic()
        if left_s <= 0:
            raise UpstreamError.of(Reason.UPSTREAM_TIMEOUT, f"the route's {self.timeout_s:g} s were used up")
        return left_s

    def comes_within(self, seconds: float) -> bool:
        return self.end - time.monotonic() <= seconds


class CallObserver(Protocol):
    """Sees each exchange, and each secret that a login brings and that must never be shown."""

    def on_exchange(self, purpose: Purpose, signed: Signed, answer: Response | None) -> None: ...

    def on_secret(self, secret: Secret) -> None: ...


class Transport:
    """Sends through `sender`; `observer` sees the exchanges."""

    def __init__(self, sender: Sender, observer: CallObserver | None = None) -> None:
        self.observer = observer
        self._sender = sender

    def send(
        self, purpose: Purpose, target: Target, signed: Signed, deadline: Deadline
    ) -> Coroutine[Any, Any, Response]:
        """Return the answer. Raises as `Sender.send`, and UpstreamError if the deadline has passed."""
        timeouts = Timeouts(connect_s=target.connect_timeout_s, total_s=deadline.left_s())
        tls = None if target.tls is None else target_context(target.tls)
        sending = self._sender.send(signed.request, timeouts=timeouts, tls=tls)
        return sending if self.observer is None else _observed(self.observer, purpose, signed, sending)


async def _observed(observer: CallObserver, purpose: Purpose, signed: Signed, sending: Awaitable[Response]) -> Response:
    answer: Response | None = None
    try:
        answer = await sending
        return answer
    finally:
        observer.on_exchange(purpose, signed, answer)


def encode_context(target: Target) -> EncodeContext:
    """Return the time, ids and size function for encoding calls to a target now."""
    return EncodeContext(
        time.time_ns(), new_call_id, lambda request: len(request.body_bytes()) + target.signature_bytes
    )


def new_call_id() -> str:
    """Return 32 random hexadecimal digits."""
    return f"{random.getrandbits(128):032x}"  # not a secret: os.urandom would cost a system call


def fresh() -> SigningContext:
    """Return the time and the random bytes of one signature."""
    return SigningContext(time.time_ns(), os.urandom(16), _NOT_PINNED)
