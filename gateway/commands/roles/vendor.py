"""Plays a vendor: a gateway that takes reports, or the calls of a relay, and replies as the vendor does."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

from gateway.commands.arguments.loading import check_given, recipes_for
from gateway.commands.output.errors import fail
from gateway.commands.output.printing import point_json
from gateway.core.context import AcceptedReport
from gateway.core.http.request import Headers
from gateway.core.outcome.combine import combine_outcomes
from gateway.core.outcome.errors import GatewayError
from gateway.core.outcome.outcome import Outcome
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.verify import Verifier
from gateway.core.vendor.provider import Provider
from gateway.core.vendor.relay import RelayedRequest
from gateway.core.vendor.route import Route
from gateway.core.vendor.verifiers import make_verifiers
from gateway.specs.schema.cases import stand_in_route

PART_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Content:
    """The answer to each call of a relay, read in parts like that of an upstream."""

    content: BytesIO
    headers: Headers = ()
    status: int = 200

    @property
    def length(self) -> int:
        return self.content.getbuffer().nbytes

    async def read(self) -> bytes:
        return self.content.read(PART_BYTES)


@dataclass(frozen=True, slots=True)
class Vendor:
    """Delivers to `take` instead of an upstream, or rejects every report. A relay's call is answered with `content`."""

    take: Callable[[Sequence[Any]], None]
    rejection: Outcome | None = None
    content: bytes = b""
    headers: Headers = ()

    async def deliver(self, route: Route, accepted: AcceptedReport, request_id: str) -> Outcome:
        if self.rejection is not None:
            return self.rejection
        self.take([point_json(item.point) for item in accepted.items])
        return combine_outcomes(accepted, ())

    @asynccontextmanager
    async def pass_on(self, route: Route, relayed: RelayedRequest, request_id: str) -> AsyncIterator[Content]:
        if self.rejection is not None:
            raise GatewayError(self.rejection)
        self.take([relayed.names["body"]])
        yield Content(BytesIO(self.content), self.headers)


def vendor_route(provider: Provider, credential: Credential | None, given: dict[str, str]) -> Route:
    """Return the route of a vendor that accepts this credential; without one, it accepts every sender."""
    receive = provider.receive
    if receive is None:
        fail(f"{provider.name} has no `receive`: it cannot be played")
    check_given(given, receive.verify, provider)
    local_calls = {form.name: form.local_call for form in receive.requests if form.local_call}
    if credential is not None:
        logins = [recipe for call in local_calls.values() if call.issues for recipe in call.verify]
        recipes_for(credential, [*receive.verify, *logins], provider.name)

    def verifiers(recipes: Sequence[Recipe]) -> tuple[Verifier, ...] | None:
        return make_verifiers(receive, recipes, [credential], given) if credential and recipes else None

    stand_in = stand_in_route(provider)
    source = replace(
        stand_in.source,
        verifiers=verifiers(receive.verify),
        given={**provider.given, **given},
        local_verifiers={name: verifiers(call.verify) for name, call in local_calls.items()},
    )
    return replace(stand_in, source=source, target=replace(stand_in.target, rules=()))
