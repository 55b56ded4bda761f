"""The specs of the package, which are read and compiled once in a process."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from gateway.core.recipe.model import Recipe
from gateway.core.vendor.provider import Provider
from gateway.proof.vectors import Vector
from gateway.specs.files import read_file
from gateway.specs.schema.provider import build_provider
from gateway.specs.schema.recipe import build_recipe
from gateway.specs.yaml.diagnostic import Diagnostic, Diagnostics
from gateway.specs.yaml.document import Document

B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Shipped:
    """Shipped specs as read, the diagnostics of reading, and the specs that built without diagnostics.

    A spec with diagnostics is built again by each load, which then reports them.
    """

    documents: tuple[Document, ...]
    found: tuple[Diagnostic, ...]
    recipes: Mapping[str, tuple[Recipe, list[Vector]]]
    providers: Mapping[str, Provider]

    def provider(self, name: str, recipes: Mapping[str, Recipe]) -> Provider | None:
        """Return the provider as built, unless one of these recipes replaces a shipped one."""
        as_shipped = all(recipes.get(each) is recipe for each, (recipe, _) in self.recipes.items())
        return self.providers.get(name) if as_shipped else None


@cache
def shipped() -> Shipped:
    package, diagnostics = Path(str(files("gateway"))), Diagnostics()
    documents = [
        document
        for kind in ("recipes", "providers")
        for path in sorted((package / kind).glob("*.yaml"))
        for document in read_file(path, str(path.relative_to(package.parent)), diagnostics, shipped=True)
    ]
    recipes = _without_diagnostics(documents, "recipe", build_recipe)
    by_name = {name: recipe for name, (recipe, _) in recipes.items()}
    providers = _without_diagnostics(documents, "provider", partial(build_provider, recipes=by_name))
    return Shipped(
        tuple(documents),
        tuple(diagnostics),
        recipes,
        providers,
    )


def _without_diagnostics(documents: list[Document], kind: str, build: Callable[[Document], B | None]) -> dict[str, B]:
    """Build the documents of a kind, and return the results without diagnostics by name."""
    built = {}
    for document in documents:
        diagnostics = Diagnostics()
        result = build(document.unchecked(diagnostics)) if document.kind == kind else None
        if result is not None and not len(diagnostics):
            built[document.name] = result
    return built
