"""Specs for tests, from YAML text. A text with a mistake fails the test that holds it."""

from gateway.core.provider import Provider
from gateway.core.recipe.model import Recipe
from gateway.core.route import Route
from gateway.specs.build_provider import build_provider
from gateway.specs.build_recipe import build_recipe
from gateway.specs.cases import stand_in_route
from gateway.specs.diagnostic import Diagnostics
from gateway.specs.document import Document
from gateway.specs.nodes import MapNode
from gateway.specs.yaml_reader import parse

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
    return built[0]


def stand_in(text: str) -> Route:
    """Return a route from a provider to itself, see `stand_in_route`."""
    return stand_in_route(provider(text))


def _document(text: str) -> Document:
    diagnostics = Diagnostics()
    (node,) = parse(text, "spec.yaml", diagnostics)
    assert isinstance(node, MapNode), [str(found) for found in diagnostics]
    kind = next(iter(node.entries))
    return Document(kind, kind, node, diagnostics)
