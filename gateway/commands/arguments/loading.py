"""Loads specs for a command, and stops with the diagnostics where they have errors."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from gateway.commands.arguments.options import fail, misuse, system_text
from gateway.commands.output.printing import count, print_diagnostics
from gateway.core.recipe.model import GivenSlot, Recipe
from gateway.core.text import did_you_mean
from gateway.core.vendor.provider import Provider
from gateway.specs.files import SUFFIXES
from gateway.specs.load import Specs, load
from gateway.specs.yaml.diagnostic import Severity


def load_specs(
    folder: Path | None,
    *,
    only: Collection[str] | None = None,
    environ: Mapping[str, str] | None = None,
    trials: bool = False,
    strict_environment: bool = True,
    or_file: bool = False,
) -> Specs:
    """Load specs even if they have errors; with `or_file`, `folder` may be a single YAML file.

    Raises UserError where the folder cannot be read.
    """
    is_file = or_file and folder is not None and folder.is_file() and folder.suffix in SUFFIXES
    if folder is not None and not folder.is_dir() and not is_file:
        wanted = (
            f"neither a folder nor a file {' or '.join(f'*{each}' for each in SUFFIXES)}" if or_file else "not a folder"
        )
        fail(f"{folder} is {wanted}" if folder.exists() else f"there is no folder {folder}")
    try:
        return load(folder, environ, only=only, trials=trials, strict_environment=strict_environment)
    except OSError as error:
        fail(f"{error.filename or folder} cannot be read: {system_text(error)}")


def load_or_fail(
    folder: Path | None,
    *,
    only: Collection[str] | None = None,
    environ: Mapping[str, str] | None = None,
    trials: bool = False,
    strict_environment: bool = True,
    hint: str = "",
) -> Specs:
    """Load specs whose errors would stand in the way. Raises UserError after printing them; `hint` is its last word."""
    specs = load_specs(folder, only=only, environ=environ, trials=trials, strict_environment=strict_environment)
    errors = [diagnostic for diagnostic in specs.diagnostics if diagnostic.severity is Severity.ERROR]
    if not errors:
        return specs
    if all(error.mark.file == str(folder) for error in errors):  # no place within a file: a route that is nowhere
        fail("; ".join(text for text in (errors[0].what, errors[0].hint) if text))
    print_diagnostics(specs.diagnostics)
    fail(f"{count(len(errors), 'error')} in the specs" + (f"; {hint}" if hint else ""))


def recipe_named(specs: Specs, name: str) -> Recipe:
    if name not in specs.recipes:
        fail(f"no recipe is named {name!r}; {did_you_mean(name, specs.recipes)}")
    return specs.recipes[name]


def provider_named(specs: Specs, name: str) -> Provider:
    if name not in specs.providers:
        fail(f"no provider is named {name!r}; {did_you_mean(name, specs.providers)}")
    return specs.providers[name]


def check_given(given: Mapping[str, str], recipes: Iterable[Recipe], provider: Provider | None = None) -> None:
    """Refuse a --given that nothing reads."""
    known = {name for recipe in recipes for name, slot in recipe.slots.items() if isinstance(slot, GivenSlot)}
    if provider is not None:
        known |= {*provider.needs, *provider.given}
    for name in given:
        if name not in known:
            misuse(f"--given: nothing here reads {name!r}; {did_you_mean(name, known) or 'none is needed'}")
