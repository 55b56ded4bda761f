"""Loads specs for a command, and stops with the diagnostics where they have errors."""

from collections.abc import Collection, Mapping
from pathlib import Path

from gateway.commands.options import fail
from gateway.commands.printing import print_diagnostics
from gateway.core.provider import Provider
from gateway.core.recipe.model import Recipe
from gateway.core.suggest import nearest
from gateway.specs.load import Specs, load


def load_or_fail(
    folder: Path | None,
    *,
    only: Collection[str] | None = None,
    environ: Mapping[str, str] | None = None,
    trials: bool = False,
    strict_environment: bool = True,
) -> Specs:
    """Load specs whose errors would stand in the way. Raises UserError after printing them."""
    try:
        specs = load(folder, environ, only=only, trials=trials, strict_environment=strict_environment)
    except OSError as error:
        fail(f"the routes cannot be read: {error}")
    if specs.diagnostics.has_errors:
        print_diagnostics(specs.diagnostics)
        fail("the specs have errors")
    return specs


def recipe_named(specs: Specs, name: str) -> Recipe:
    if name not in specs.recipes:
        fail(f"no recipe is named {name!r}; {nearest(name, specs.recipes)}")
    return specs.recipes[name]


def provider_named(specs: Specs, name: str) -> Provider:
    if name not in specs.providers:
        fail(f"no provider is named {name!r}; {nearest(name, specs.providers)}")
    return specs.providers[name]
