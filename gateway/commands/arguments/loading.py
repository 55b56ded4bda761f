"""Loads specs for a command, and stops with their diagnostics if they have errors."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from gateway.commands.arguments.options import base_url, read_credential, read_given
from gateway.commands.output.errors import fail, misuse, system_text
from gateway.commands.output.printing import count, print_diagnostics
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.model import Recipe
from gateway.core.text import did_you_mean
from gateway.core.vendor.provider import Provider
from gateway.core.vendor.route import Route
from gateway.specs.files import SUFFIXES
from gateway.specs.load import Specs, load
from gateway.specs.yaml.diagnostic import Severity

Spec = TypeVar("Spec")


def load_specs(folder: Path | None, *, or_file: bool = False, **options: Any) -> Specs:
    """Load specs with the options of `load`, even if they have errors; with `or_file`, also from a single YAML file.

    Raises UserError if the folder cannot be read.
    """
    is_file = or_file and folder is not None and folder.is_file() and folder.suffix in SUFFIXES
    if folder is not None and not folder.is_dir() and not is_file:
        file = f" nor a file {' or '.join(f'*{each}' for each in SUFFIXES)}"
        wanted = f"neither a folder{file}" if or_file else "not a folder"
        fail(f"{folder} is {wanted}" if folder.exists() else f"there is no folder {folder}")
    try:
        return load(folder, **options)
    except OSError as error:
        fail(f"{error.filename or folder} cannot be read: {system_text(error)}")


def load_or_fail(folder: Path | None, *, hint: str = "", **options: Any) -> Specs:
    """Load specs. If they have errors, print the diagnostics and raise UserError, whose text ends with `hint`."""
    specs = load_specs(folder, **options)
    errors = [diagnostic for diagnostic in specs.diagnostics if diagnostic.severity is Severity.ERROR]
    if not errors:
        return specs
    if all(error.mark.file == str(folder) for error in errors):  # not in a file: an unknown name in `only`
        fail("; ".join(text for text in (errors[0].what, errors[0].hint) if text))
    print_diagnostics(specs.diagnostics)
    fail(f"{count(len(errors), 'error')} in the specs" + (f"; {hint}" if hint else ""))


def named(kind: str, name: str, known: Mapping[str, Spec]) -> Spec:
    """Return the spec of that name. Raises UserError if there is none."""
    if name not in known:
        fail(f"no {kind} is named {name!r}; {did_you_mean(name, known)}")
    return known[name]


def load_recipe(
    folder: Path | None, name: str, key: str | None, secret: str | None, given: Sequence[str] | None
) -> tuple[Recipe, Credential, dict[str, str]]:
    """Return a recipe, and the credential and the given values from the command line, which must fit it."""
    stated, credential = read_given(given), read_credential(key, secret)
    recipe = named("recipe", name, load_or_fail(folder, only=()).recipes)
    recipes_for(credential, [recipe], name)
    check_given(stated, [recipe])
    return recipe, credential, stated


def recipes_for(credential: Credential, recipes: Iterable[Recipe], owner: str) -> list[Recipe]:
    """Return the recipes whose slots the credential fills exactly; `owner` is the spec that lists the recipes."""
    recipes = list(recipes)
    fitting = [recipe for recipe in recipes if credential.serves(recipe)]
    if recipes and not fitting:
        misuse(f"{owner} has {'no key id: leave out --key' if credential.key is not None else 'a key id: give --key'}")
    return fitting


def check_given(given: Mapping[str, str], recipes: Iterable[Recipe], provider: Provider | None = None) -> None:
    """Reject a --given that neither the recipes nor the provider read."""
    known = {slot.name for recipe in recipes for slot in recipe.given}
    if provider is not None:
        known |= {*provider.needs, *provider.given}
    for name in given:
        if name not in known:
            misuse(f"--given: nothing here reads {name!r}; {did_you_mean(name, known) or 'no value is needed'}")


def retarget(routes: Mapping[str, Route], pairs: Sequence[str]) -> dict[str, Route]:
    """Return the routes, with each `ROUTE=URL` applied: calls of that route go to that URL."""
    routes = dict(routes)
    for pair in pairs:
        name, equals, url = pair.partition("=")
        if not equals:
            misuse(f"--target: {pair!r} is not ROUTE=URL")
        if name not in routes:
            fail(f"--target: no route is named {name!r}; {did_you_mean(name, routes)}")
        base = base_url(url, "--target")
        target = replace(routes[name].target, url=base)
        routes[name] = replace(routes[name], target=target)
    return routes
