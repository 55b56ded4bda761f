"""Plays a vendor's reporter: sends data points as the vendor's programs do, by direct delivery."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import uuid4

from gateway.commands.arguments.credentials import recipes_for
from gateway.commands.arguments.loading import check_given
from gateway.commands.output.errors import fail, misuse
from gateway.core.context import AcceptedReport
from gateway.core.http.request import PublicUrl
from gateway.core.outcome.errors import GatewayError
from gateway.core.outcome.masking import mask_outcome
from gateway.core.outcome.outcome import Outcome
from gateway.core.pipeline import ANONYMOUS
from gateway.core.points.decode import Item
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.model import Recipe
from gateway.core.vendor.provider import CallForm, Login, Provider, Send
from gateway.core.vendor.route import Route, Target
from gateway.delivery.call import CallSender
from gateway.delivery.client import Client
from gateway.delivery.dispatch import Dispatcher
from gateway.delivery.limits import Limiter
from gateway.delivery.transport import CallObserver
from gateway.specs.schema.cases import stand_in_route
from gateway.telemetry import Telemetry


async def send_report(route: Route, items: Sequence[Item], observer: CallObserver | None = None) -> Outcome:
    """Send one report, and return its outcome."""
    client = Client()
    dispatcher = Dispatcher(CallSender(client, Telemetry(), observer), Limiter(pausing=False))
    try:
        accepted = AcceptedReport(ANONYMOUS, tuple(items))
        outcome = await dispatcher.deliver(route.name, route.target, accepted, uuid4().hex)
    except GatewayError as error:
        outcome = error.outcome
    finally:
        await client.close()
    return mask_outcome(outcome, route.secrets)


def reporter_route(provider: Provider, base: PublicUrl, credential: Credential | None, given: dict[str, str]) -> Route:
    """Return the route of a reporter that calls this URL, signed by the first recipe that the credential fits."""
    if provider.send is None:
        fail(f"{provider.name} has no `send`: its reporters cannot be played")
    if provider.relay:
        fail(f"{provider.name} is a relay: its calls contain no data points; `gateway sign` signs such a call")
    login = provider.send.login_for(credential)
    form, recipe = _form(provider.send, credential, login, provider.name)
    check_given(given, [*form.sign, *([login.sign] if login else [])], provider)
    missing = [name for name in provider.needs if name not in given and name not in provider.given]
    if missing:
        misuse(f"{provider.name} needs --given {missing[0]}=…")
    target = Target(
        provider=provider,
        send=provider.send,
        form=form,
        scheme=base.scheme,
        host=base.host,
        base_path=base.prefix,
        recipe=recipe,
        credential=credential,
        given={**provider.given, **given},
        rules=(),
        limits=provider.limits,
        login=login,
    )
    return replace(stand_in_route(provider), target=target)


def _form(send: Send, credential: Credential | None, login: Login | None, name: str) -> tuple[CallForm, Recipe | None]:
    """Return the first call that the credential can sign, and its recipe; without a credential, an unsigned call.

    With a login, return the first call that carries the session.
    """
    recipes = [recipe for form in send.requests for recipe in form.sign]
    if credential is None:
        for form in send.requests:
            if not form.sign:
                return form, None
        misuse(f"calls to {name} are signed: give " + ("--key and --secret" if recipes[0].key else "--secret"))
    fitting = [login.for_recipe] if login else recipes_for(credential, recipes, name)
    for form in send.requests:
        for recipe in form.sign:
            if recipe in fitting:
                return form, recipe
    misuse(f"calls to {name} are not signed: leave out --secret")
