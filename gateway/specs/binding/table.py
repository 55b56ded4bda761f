"""Tables of keys: each key of a spec is declared once, with its type, its documentation and whether it is secret.

`Table.read` walks a map node. It checks for unknown and missing keys, lets the type of each key read the value below,
and calls `build` with the results: a dataclass of the core or a short function. `check` then compares the keys with one
another. A key is passed as the parameter of the same name, with an underscore after a Python keyword (`else_`), or as
the parameter named by `to`. A builder may also ask for `at`, the place of the map, and for `name`, its key in the map
above. `Key` is for a required key, or one whose parameter has a default; `optional` states the default.

Errors are reported at the node that causes them, and reading goes on with the next key. A map with an error below is
Invalid as a whole and is not built: no check runs on half an object.
"""

import inspect
import keyword
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from gateway.specs.binding.place import Invalid, Place
from gateway.specs.yaml.nodes import MapNode, Scalar

Schema = dict[str, Any]
Sees = Callable[[Place], Collection[str]]
REQUIRED = inspect.Parameter.empty


class Type(Protocol):
    """How a value is read, and its name in the reference."""

    @property
    def words(self) -> str: ...

    def read(self, place: Place, /) -> Any: ...


@dataclass(frozen=True, eq=False)
class Key:
    """One key. `sees` gives the names that expressions see below it, from the place of the map."""

    name: str
    type: Type
    doc: str
    sees: Sees | None = None
    secret: bool = False
    to: str = ""
    default: Any = REQUIRED

    @property
    def parameter(self) -> str:
        return self.to or (f"{self.name}_" if keyword.iskeyword(self.name) else self.name)


def optional(name: str, type: Type, doc: str, default: Any = None, *, to: str = "", sees: Sees | None = None) -> Key:
    return Key(name, type, doc, sees, to=to, default=default)


class Table:
    """The keys of one kind of map. With `stated_only`, the result is a dict of the keys that are stated.

    A table with a `kind` is for maps whose key `kind` has this value.
    """

    def __init__(
        self,
        title: str,
        build: Callable[..., Any],
        *keys: Key,
        check: Callable[[Place, Any], None] | None = None,
        kind: str = "",
        stated_only: bool = False,
    ) -> None:
        self.title = self.words = title
        self.kind = kind
        self.keys = {key.name: key for key in keys}
        self._build = build
        self._check = check
        self._stated_only = stated_only

    @cached_property
    def _parameters(self) -> dict[str, Any]:
        """Return the defaults of what the builder takes, by name."""
        if self._build is dict:
            return {}
        return {name: each.default for name, each in inspect.signature(self._build).parameters.items()}

    def default(self, key: Key) -> Any:
        if key.default is not REQUIRED:
            return key.default
        return self._parameters.get(key.parameter, None if self._stated_only else REQUIRED)

    def scalar_default(self, key: Key) -> str | float | None:
        """Return the default if it is a scalar, as in YAML."""
        default = self.default(key)
        return default if isinstance(default, str | int | float) else None

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """The default of each key as in YAML; None for a key without one."""
        found: dict[str, Any] = {"kind": self.kind} if self.kind else {}
        for key in self.keys.values():
            is_built = self.default(key) not in (None, REQUIRED)
            found[key.name] = (
                key.type.defaults if isinstance(key.type, Table) and is_built else self.scalar_default(key)
            )
        return found

    def is_required(self, key: Key) -> bool:
        return self.default(key) is REQUIRED

    def read(self, place: Place) -> Any:
        """Return what the map is built to. Raises Invalid."""
        if not isinstance(place.node, MapNode):
            raise place.expected("a map")
        place.scope.defaults[place.path] = self.defaults
        values: dict[str, Any] = {}
        errors = False
        for name in place.entries.keys() - self.keys.keys() - ({"kind"} if self.kind else set()):
            place.unknown_key(name, self.keys)
            errors = True
        for key in self.keys.values():
            node = place.entries.get(key.name)
            if node is None:
                if self.is_required(key):
                    place.error(f"{key.name!r} is missing")
                    errors = True
                elif key.default is not REQUIRED:
                    values[key.parameter] = key.default
                continue
            if isinstance(node, Scalar) and node.value is None and self.default(key) is None:
                values[key.parameter] = None
                continue
            names = place.names if key.sees is None else frozenset(key.sees(place))
            below = Place(place.scope, node, (*place.path, key.name), names, place.secret or key.secret)
            try:
                values[key.parameter] = key.type.read(below)
            except Invalid:
                errors = True
        if errors:
            raise Invalid
        if self._stated_only:
            return values
        extra = {"at": place, "name": place.name if place.path else ""}
        values |= {name: extra[name] for name in extra.keys() & self._parameters.keys() if name not in values}
        built = self._build(**values)
        if self._check is not None:
            self._check(place, built)
        return built


def read_document(table: Table, place: Place) -> Any:
    """Return what a document is built to, or None when it has errors; they are reported."""
    document, compiler = place.scope.document, place.scope.compiler
    built = None
    with suppress(Invalid):
        built = table.read(place)
    document.problems(compiler.problems)
    document.slow_patterns(compiler.patterns)
    return None if document.errors or document.lacks else built
