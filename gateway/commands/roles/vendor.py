"""A vendor that is played: a gateway where reports end, and are answered in the vendor's words."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from gateway.app import Gateway, Settings
from gateway.commands.arguments.credentials import serving
from gateway.commands.arguments.loading import check_given
from gateway.commands.arguments.options import fail
from gateway.commands.output.printing import point_json
from gateway.commands.roles.file_answer import FileAnswer, Opened
from gateway.core.outcome.combine import combine_outcomes
from gateway.core.outcome.errors import GatewayError
from gateway.core.outcome.outcome import Outcome
from gateway.core.points.report import AcceptedReport
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.verify import Verifier
from gateway.core.vendor.provider import Provider, Receive
from gateway.core.vendor.relay import RelayedRequest
from gateway.core.vendor.route import Route
from gateway.core.vendor.routing import make_snapshot
from gateway.core.vendor.verifiers import make_verifiers
from gateway.specs.schema.cases import stand_in_route

NOTHING = FileAnswer()


def play_vendor(
    route: Route,
    settings: Settings,
    take: Callable[[Sequence[Any]], None],
    *,
    refusal: Outcome | None = None,
    content: FileAnswer = NOTHING,
) -> Gateway:
    """Return a gateway that hands the data points of each report to `take`, or refuses whatever comes.

    Of a relay's calls it hands over the body, and answers with the content.
    """

    async def deliver(route: Route, accepted: AcceptedReport, request_id: str) -> Outcome:
        if refusal is not None:
            return refusal
        take([point_json(item.point) for item in accepted.items])
        return combine_outcomes(accepted, ())

    def pass_on(route: Route, relayed: RelayedRequest, request_id: str) -> AbstractAsyncContextManager[Opened]:
        if refusal is not None:
            raise GatewayError(refusal)
        take([relayed.names["body"]])
        return content.open()

    return Gateway(make_snapshot([route]), settings, deliver=deliver, pass_on=pass_on)


def vendor_route(provider: Provider, credential: Credential | None, given: dict[str, str]) -> Route:
    """Return the route of a vendor that takes this credential; without one, whoever reports is believed."""
    receive = provider.receive
    if receive is None:
        fail(f"{provider.name} has no `receive`: it cannot be played")
    check_given(given, receive.verify, provider)
    if credential is not None:
        logins = [
            recipe
            for form in receive.requests
            if form.local_call and form.local_call.issues
            for recipe in form.local_call.verify
        ]
        serving([*receive.verify, *logins], credential, provider.name)
    stand_in = stand_in_route(provider)
    source = replace(
        stand_in.source,
        checks=_checks(receive, receive.verify, credential, given),
        given={**provider.given, **given},
        local_checks={
            form.name: _checks(receive, form.local_call.verify, credential, given)
            for form in receive.requests
            if form.local_call
        },
    )
    return replace(stand_in, source=source, target=replace(stand_in.target, rules=()))


def _checks(
    receive: Receive, recipes: Sequence[Recipe], credential: Credential | None, given: dict[str, str]
) -> tuple[Verifier, ...] | None:
    """Return what verifies a call; None, which believes whoever makes it, where there is nothing to hold it to."""
    if credential is None or not recipes:
        return None
    return make_verifiers(receive, recipes, [credential], given)
