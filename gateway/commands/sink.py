"""gateway sink: play a vendor; what it takes is printed as JSON lines."""

from dataclasses import replace
from typing import Annotated

import structlog
import typer

from gateway.app import Gateway, Settings, run, run_until_signal
from gateway.commands.loading import load_or_fail, provider_named
from gateway.commands.options import Given, Key, SecretOption, SpecFolder, fail, read_given, read_secret
from gateway.commands.printing import point_json, print_json
from gateway.core.accept import Accepted
from gateway.core.outcome import CODE_OF, Code, Outcome, Reason
from gateway.core.provider import Provider
from gateway.core.recipe.keyring import Credential, make_keyring
from gateway.core.recipe.verify import Check
from gateway.core.route import Route, make_snapshot
from gateway.core.suggest import nearest
from gateway.logs import configure
from gateway.specs.cases import stand_in_route

log = structlog.get_logger()


def sink(
    provider: Annotated[str, typer.Argument(metavar="PROVIDER", help="The vendor that is played.")],
    listen: Annotated[str, typer.Option(metavar="ADDR", help="Where to listen; :0 takes a free port.")] = "127.0.0.1:0",
    key: Key = None,
    secret: SecretOption = None,
    given: Given = None,
    answer: Annotated[
        str | None, typer.Option("--answer", metavar="CODE", help="Refuse every report with this code or reason.")
    ] = None,
    routes: SpecFolder = None,
) -> None:
    """Stand where a vendor stands: verify each report, print each data point as a JSON line, answer in its words.

    Without --secret, whoever reports is believed.

    Example: gateway sink tencent-receiver --listen 127.0.0.1:9000 --key ID --secret env:KEY
    """
    configure("info", "auto")
    specs = load_or_fail(routes)
    credential = None if secret is None else Credential(read_secret(secret), key)
    route = _route(provider_named(specs, provider), credential, read_given(given))
    outcome = _stated(answer)

    async def deliver(route: Route, accepted: Accepted, request_id: str) -> Outcome:
        if outcome is not None:
            return outcome
        for item in accepted.items:
            print_json(point_json(item.point))
        return Outcome(Code.OK, accepted=len(accepted.items))

    gateway = Gateway(make_snapshot([route]), Settings(listen=listen, admin=None, grace_s=2), deliver=deliver)
    try:
        code = run(run_until_signal(gateway, on_ready=lambda: log.info("listening", address=gateway.address)))
    except (OSError, ValueError) as error:
        fail(f"cannot listen on {listen}: {error}")
    raise typer.Exit(code)


def _route(provider: Provider, credential: Credential | None, given: dict[str, str]) -> Route:
    if provider.receive is None:
        fail(f"{provider.name} has no `receive`: it cannot be played")
    checks: tuple[Check, ...] = ()
    if credential is not None:
        fitting = [each for each in provider.receive.verify if each.needs_key == (credential.key is not None)]
        if not fitting:
            fail(f"{provider.name} takes {'no key' if credential.key else 'a key'}: see its recipes")
        checks = tuple(Check(recipe, make_keyring([credential]), given) for recipe in fitting)
    stand_in = stand_in_route(provider)
    source = replace(stand_in.source, checks=checks, given={**provider.given, **given})
    return replace(stand_in, source=source, target=replace(stand_in.target, rules=()))


def _stated(answer: str | None) -> Outcome | None:
    if answer is None or answer == Code.OK:
        return None
    message = f"the sink was told to answer {answer}"
    if answer in list(Reason):
        return Outcome(CODE_OF[Reason(answer)], Reason(answer), message)
    if answer in list(Code):
        return Outcome(Code(answer), None, message)
    fail(f"--answer: {answer!r} is no code and no reason; {nearest(answer, [*Code, *Reason])}")
