"""Sends signed calls to a target, each within the deadline of its delivery, and lets someone watch."""

import os
import time
from typing import Literal, Protocol
from uuid import uuid4

from gateway.core.http.request import Response, Secret
from gateway.core.recipe.sign import Fresh, Signed
from gateway.core.sending.sign import sign_call
from gateway.core.sending.split import EncodeContext
from gateway.core.vendor.route import Target
from gateway.delivery.client import Sender, Timeouts
from gateway.delivery.deadline import Deadline

What = Literal["call", "declare", "login", "poll"]


class Watcher(Protocol):
    """Is told of each call that went out, and of each secret that an answer brought, which must never be shown."""

    def sent(self, what: What, signed: Signed, answer: Response | None) -> None: ...

    def learned(self, secret: Secret) -> None: ...


class _Nobody:
    def sent(self, what: What, signed: Signed, answer: Response | None) -> None:
        pass

    def learned(self, secret: Secret) -> None:
        pass


class Courier:
    """Sends through `sender`, and tells `watcher`."""

    def __init__(self, sender: Sender, watcher: Watcher | None = None) -> None:
        self.watcher: Watcher = watcher or _Nobody()
        self._sender = sender

    async def send(self, what: What, target: Target, signed: Signed, deadline: Deadline) -> Response:
        """Return the answer. Raises as the sender does, and UpstreamError where the deadline has passed."""
        timeouts = Timeouts(connect_s=target.connect_timeout_s, total_s=deadline.left_s())
        answer: Response | None = None
        try:
            answer = await self._sender.send(signed.request, timeouts=timeouts, tls=target.tls)
            return answer
        finally:
            self.watcher.sent(what, signed, answer)


def encoder_for(target: Target) -> EncodeContext:
    """Return what building calls for a target depends on at this moment."""
    return EncodeContext(
        time.time_ns(), lambda: uuid4().hex, lambda draft: len(sign_call(target, draft, fresh()).request.body)
    )


def fresh() -> Fresh:
    """Return what a signature of this moment is made of; no two signatures share it."""
    return Fresh(time.time_ns(), os.urandom(16))
