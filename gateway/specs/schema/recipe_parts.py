"""What building any part of a recipe needs: its document, and templates whose mistakes become findings."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.core.recipe.filters import Kind
from gateway.core.recipe.syntax import REQUEST_NAMES, RecipeError, Reference, Template, compile_template
from gateway.specs.schema.recipe_models import RecipeSpec
from gateway.specs.yaml.document import Document
from gateway.specs.yaml.nodes import Path

NONE = Template("", ("",), Kind.TEXT)


@dataclass(frozen=True, slots=True)
class RecipeParts:
    """Compiles parts of one recipe. `kinds` has each name that templates may read, and grows step by step."""

    document: Document
    spec: RecipeSpec
    kinds: dict[str, Kind]

    def template(self, source: str, path: Path, kinds: Mapping[str, Kind] | None = None) -> Template:
        try:
            return compile_template(source, self.kinds if kinds is None else kinds)
        except RecipeError as error:
            self.document.error(path, error.what, error.hint)
            return NONE

    def filters(self, name: str, filters: str, path: Path) -> Reference:
        """Compile `percent|upper` as what is done to one name."""
        template = self.template(f"{{{name}|{filters}}}" if filters else f"{{{name}}}", path, {name: Kind.TEXT})
        part = template.parts[0]
        return part if isinstance(part, Reference) else Reference(name, (), Kind.TEXT)

    def pattern(self, source: str, path: Path) -> str:
        try:
            re.compile(source)
        except re.error as error:
            self.document.error(path, f"{source!r} is not a pattern: {error}")
            return ".+"
        self.document.slow_patterns([(path, source)])
        return source


def all_kinds(spec: RecipeSpec) -> dict[str, Kind]:
    """Return what the request, the secret and the slots are."""
    return {**REQUEST_NAMES, "secret": Kind.TEXT, **dict.fromkeys(spec.slots, Kind.TEXT)}
