"""A document as it is understood: its keys with the defaults filled in."""

from contextlib import suppress
from typing import Any

from gateway.core.http.request import Secret
from gateway.specs.binding.place import Invalid, Place, Scope
from gateway.specs.documentation import DOCUMENTS
from gateway.specs.yaml.diagnostic import Diagnostics
from gateway.specs.yaml.document import Document
from gateway.specs.yaml.nodes import ListNode, MapNode


def understood(document: Document) -> dict[str, Any]:
    """Return the values by key, without cases and vectors; a secret is a Secret."""
    place = Place(Scope(document.unchecked(Diagnostics())), document.with_values or document.node)
    with suppress(Invalid):  # names of other specs are unknown here
        DOCUMENTS[document.kind].read(place)
    values: dict[str, Any] = _with_defaults(place)
    return {key: value for key, value in values.items() if key not in ("cases", "vectors")}


def _with_defaults(place: Place) -> Any:
    if isinstance(place.node, MapNode):
        stated = {below.name: _with_defaults(below) for below in place}
        return place.scope.defaults.get(place.path, {}) | stated
    if isinstance(place.node, ListNode):
        return [_with_defaults(below) for below in place]
    return Secret(str(place.value)) if place.path in place.scope.secrets else place.value
