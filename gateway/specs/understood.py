"""A document as it is understood: its keys with the defaults filled in."""

from typing import Any

from pydantic import BaseModel

from gateway.specs.schema.model_types import Model
from gateway.specs.schema.models import ProviderSpec, RouteSpec
from gateway.specs.schema.recipe_models import RecipeSpec
from gateway.specs.yaml.document import Document
from gateway.specs.yaml.nodes import to_python

_MODELS: dict[str, type[Model]] = {"route": RouteSpec, "provider": ProviderSpec, "recipe": RecipeSpec}


def understood(document: Document) -> dict[str, Any]:
    """Return the values by key without cases and vectors; a secret is a Secret. Empty if the document has errors."""
    spec = document.spec or document.read(_MODELS[document.kind], to_python(document.node))
    values = {} if spec is None else _by_key(spec)
    return {key: value for key, value in values.items() if key not in ("cases", "vectors")}


def _by_key(value: Any) -> Any:
    """Return a model as a map. Not by `model_dump`, which would write out the text of a Secret."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields.items()
        return {field.alias or name: _by_key(getattr(value, name)) for name, field in fields}
    if isinstance(value, dict):
        return {key: _by_key(each) for key, each in value.items()}
    return [_by_key(each) for each in value] if isinstance(value, list) else value
