"""gateway show: a route, provider or recipe as the gateway understands it, and what is lost on the way."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer
import yaml

from gateway.commands.arguments.loading import load_specs
from gateway.commands.arguments.options import DEFAULT_ROUTES, Json, Routes
from gateway.commands.output.errors import fail
from gateway.commands.output.printing import line, print_diagnostics, print_json
from gateway.core.http.request import Secret
from gateway.core.outcome.masking import mask_secrets
from gateway.core.text import did_you_mean
from gateway.core.vendor.route import Route
from gateway.proof.capabilities import probe_capabilities
from gateway.proof.loss import IDENTITY, route_loss
from gateway.proof.probe import ProbeFailed, own_targets
from gateway.specs.documentation import understood
from gateway.specs.environment import UNSET
from gateway.specs.load import Specs
from gateway.specs.yaml.diagnostic import Diagnostics

SHORT_CHARS = 100


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A route, provider or recipe.")],
    routes: Routes = DEFAULT_ROUTES,
    json: Json = False,
) -> None:
    """Show a route, provider or recipe as the gateway understands it.

    Prints its keys with the defaults filled in, what its data points lose, and the warnings of a route. No variable
    needs to be set. Secrets are masked.

    \b
    Example:
      gateway show acme-to-zeta
    """
    folder = None if routes == DEFAULT_ROUTES and not routes.exists() else routes  # shipped specs need no folder
    specs = load_specs(folder, strict_environment=False)
    found = list(_found(specs, name))
    if not found:
        if specs.diagnostics.has_errors:
            print_diagnostics(specs.diagnostics)
        known = {*specs.routes, *specs.providers, *specs.recipes}
        fail(f"no route, provider or recipe is named {name!r}; {did_you_mean(name, known)}")
    # Load this route alone, so warnings of other routes are not shown.
    alone = load_specs(folder, only=[name], strict_environment=False) if name in specs.routes else Specs(Diagnostics())
    if json:
        found[0] |= {"warnings": [str(each) for each in alone.diagnostics]}
        print_json(found if len(found) > 1 else found[0])
        return
    for number, each in enumerate(found):
        text = yaml.dump(each, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=sys.maxsize)
        line(("---\n" if number else "") + text.rstrip("\n"))
    print_diagnostics(alone.diagnostics)


class _Dumper(yaml.SafeDumper):
    """Writes short maps and lists of scalars on one line."""

    def represent_data(self, data: Any) -> yaml.Node:
        node: yaml.Node = super().represent_data(data)
        if isinstance(node, yaml.CollectionNode):
            inner = [each for item in node.value for each in (item if isinstance(item, tuple) else [item])]
            texts = [each.value for each in inner if isinstance(each, yaml.ScalarNode)]
            node.flow_style = len(texts) == len(inner) and sum(len(text) + 2 for text in texts) < SHORT_CHARS
        return node


def _found(specs: Specs, name: str) -> Iterator[dict[str, Any]]:
    """Yield each spec of that name: a provider often has the name of its recipe."""
    if name in specs.routes:
        route = specs.routes[name]
        about = {
            "calls": [f"{form.method} {route.source.path}{form.path}" for form in route.source.receive.requests],
            "loss": {each.name: _loss_words(replace(route, target=each)) for each in route.targets},
        }
        secrets = [each for each in route.secrets if each.reveal() != UNSET]
        yield _plain(understood(specs.documents["route"][name]) | about, secrets)
    if name in specs.providers:
        represents: dict[str, dict[str, str]] = {}
        for target in () if specs.providers[name].relay else own_targets(specs.providers[name]):
            try:
                represents[target.form.name] = probe_capabilities(target).words()
            except ProbeFailed as error:
                represents[target.form.name] = {"unknown": str(error)}
        yield _plain(understood(specs.documents["provider"][name]) | {"represents": represents})
    if name in specs.recipes:
        yield _plain(understood(specs.documents["recipe"][name]))


def _plain(value: Any, secrets: Sequence[Secret] = ()) -> Any:
    """Return plain data without empty values. Secrets are masked, also where another key repeats them."""
    if isinstance(value, dict):
        members = {str(name): _plain(each, secrets) for name, each in value.items()}
        return {name: each for name, each in members.items() if each not in (None, "", [], {})}
    if isinstance(value, list | tuple):
        return [_plain(each, secrets) for each in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return mask_secrets(str(value), secrets) if isinstance(value, str | Secret) else value


def _loss_words(route: Route) -> dict[str, str]:
    """Return what is lost on the way to the route's target, by field. A relay has no data points to lose."""
    if route.target.provider.relay:
        return {}
    try:
        loss = route_loss(route)
    except ProbeFailed as error:
        return {"unknown": str(error)}
    accepted = {name: " (accepted)" for name in route.points.allow_loss}
    merges = dict.fromkeys(IDENTITY, "; series would merge")
    words = {each.field: each.what + merges.get(each.field, "") + accepted.get(each.field, "") for each in loss.lost}
    words |= {name: "is required, and no report has it" for name in loss.missing}
    return words or {"nothing": "every field arrives"}
