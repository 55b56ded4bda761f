"""gateway show: a provider, recipe or route in the words of whoever is on call."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.commands.arguments.loading import load_specs
from gateway.commands.arguments.options import DEFAULT_ROUTES, Json, Routes, fail
from gateway.commands.output.facts import Facts, facts_of_provider, facts_of_recipe
from gateway.commands.output.printing import print_diagnostics, print_facts, print_json
from gateway.commands.output.route_facts import facts_of_route
from gateway.core.http.request import Secret
from gateway.core.outcome.masking import mask_secrets
from gateway.core.text import did_you_mean
from gateway.specs.environment import UNSET
from gateway.specs.load import Specs
from gateway.specs.yaml.diagnostic import Diagnostics


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A route, provider or recipe.")],
    routes: Routes = DEFAULT_ROUTES,
    json: Json = False,
) -> None:
    """Show what a route, a provider or a recipe is and does.

    No variable needs to be set. Secrets are shown as ***.

    \b
    Example:
      gateway show acme-to-zeta
    """
    folder = None if routes == DEFAULT_ROUTES and not routes.exists() else routes  # what is shipped needs no folder
    specs = load_specs(folder, strict_environment=False)
    found = list(_found(specs, folder, name))
    if not found:
        known = {*specs.routes, *specs.providers, *specs.recipes}
        if specs.diagnostics.has_errors:
            print_diagnostics(specs.diagnostics)
        fail(f"nothing that can be shown is named {name!r}; {did_you_mean(name, known)}")
    if json:
        print_json(found if len(found) > 1 else found[0])
        return
    for facts in found:
        print_facts(facts)


def _found(specs: Specs, folder: Path | None, name: str) -> Iterator[Facts]:
    """Yield the facts of each spec of that name: a provider often has the name of its recipe."""
    if name in specs.routes:
        route = specs.routes[name]
        findings = list(_of_route(folder, name))
        yield _masked(facts_of_route(route, findings), [each for each in route.secrets if each.reveal() != UNSET])
    if name in specs.providers:
        yield facts_of_provider(specs.providers[name])
    if name in specs.recipes:
        yield facts_of_recipe(specs.recipes[name], specs.providers.values())


def _of_route(folder: Path | None, name: str) -> Diagnostics:
    """Return what is said when this route is loaded and no other."""
    return load_specs(folder, only=[name], strict_environment=False).diagnostics


def _masked(fact: Any, secrets: Iterable[Secret]) -> Any:
    """Mask secrets wherever they might have been written a second time."""
    secrets = list(secrets)
    if isinstance(fact, dict):
        return {name: _masked(value, secrets) for name, value in fact.items()}
    return [_masked(each, secrets) for each in fact] if isinstance(fact, list) else mask_secrets(fact, secrets)
