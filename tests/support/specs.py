"""Specs for tests, from YAML text. A text with a mistake fails the test that holds it."""

from gateway.core.recipe.model import Recipe
from gateway.core.vendor.provider import Provider
from gateway.core.vendor.route import Route
from gateway.specs.schema.cases import stand_in_route
from gateway.specs.schema.provider import build_provider
from gateway.specs.schema.recipe import build_recipe
from gateway.specs.yaml.diagnostic import Diagnostics
from gateway.specs.yaml.document import Document
from gateway.specs.yaml.nodes import MapNode
from gateway.specs.yaml.reader import parse

SESSION = """
recipe: session
slots: {session: {kind: secret}}
carry: [{header: authorization, value: "{session}"}]
"""

KEYED = """
recipe: keyed
slots: {id: {kind: key}, password: {kind: secret}}
carry: [{header: authorization, value: "{id}:{password}"}]
"""


def recipe(text: str) -> Recipe:
    document = _document(text)
    built = build_recipe(document)
    assert built is not None, [str(found) for found in document.diagnostics]
    return built[0]


def provider(text: str) -> Provider:
    """Return a provider; the recipes named `session` and `keyed` are there for it."""
    document = _document(text)
    built = build_provider(document, {"session": recipe(SESSION), "keyed": recipe(KEYED)})
    assert built is not None, [str(found) for found in document.diagnostics]
    return built


def stand_in(text: str) -> Route:
    """Return a route from a provider to itself, see `stand_in_route`."""
    return stand_in_route(provider(text))


def _document(text: str) -> Document:
    diagnostics = Diagnostics()
    (node,) = parse(text, "spec.yaml", diagnostics)
    assert isinstance(node, MapNode), [str(found) for found in diagnostics]
    kind = next(iter(node.entries))
    return Document(kind, kind, node, diagnostics)
