"""A vendor's API as small as can be: our listener and our verifier, and two replies in the vendor's words."""

import time
from types import TracebackType
from typing import Self

from gateway.core.http.received import ReceivedRequest, guess_body_kind
from gateway.core.http.request import Request, Response
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.keyring import make_keyring
from gateway.core.recipe.verify import Verified, Verifier, verify
from gateway.web.listener import Listener, listen
from gateway.web.parser import Incoming
from gateway.web.replay_memory import Replays
from tests.core.recipe.vectors import RECIPES, secret

KEY = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
OTHER_SECRET = "another+secret/of-40-characters-in-length"


class Vendor:
    """Takes calls that one recipe verifies; `verified` and `refused` note what became of them."""

    def __init__(self, recipe: str, ok: Response, refusal: Response, **pins: str) -> None:
        self.verified: list[Verified] = []
        self.refused: list[Reason | None] = []
        self._check = Verifier(RECIPES[recipe], make_keyring([secret(SECRET, KEY)]), pins)
        self._ok = ok
        self._refusal = refusal
        self._replays = Replays()
        self._listener: Listener

    async def __aenter__(self) -> Self:
        self._listener = await listen(self._answer, "127.0.0.1:0")
        return self

    async def __aexit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._listener.close(1)

    @property
    def address(self) -> str:
        return self._listener.address

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    async def _answer(self, incoming: Incoming) -> Response:
        body = await incoming.body.read(max_bytes=1_000_000, timeout_s=5)
        request = Request(
            incoming.request.method, incoming.request.target, incoming.request.headers, body, incoming.request.scheme
        )
        message = ReceivedRequest(request, guess_body_kind(request))
        try:
            self.verified.append(verify(message, [self._check], now_ns=time.time_ns(), replays=self._replays))
        except CallerError as error:
            self.refused.append(error.outcome.reason)
            return self._refusal
        return self._ok


def json_reply(status: int, text: str) -> Response:
    return Response(status, (("Content-Type", "application/json"),), text.encode())
