"""Derives JSON Schema, the key tables of the reference, and the defaults of a document from the tables of keys."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from gateway.core.http.request import Secret
from gateway.specs.binding.place import Invalid, Place, Scope
from gateway.specs.binding.table import Key, Schema, Table
from gateway.specs.binding.types import Plain
from gateway.specs.schema.provider import PROVIDER
from gateway.specs.schema.recipe import RECIPE
from gateway.specs.schema.route import ROUTE
from gateway.specs.yaml.diagnostic import Diagnostics
from gateway.specs.yaml.document import Document
from gateway.specs.yaml.nodes import ListNode, MapNode

DOCUMENTS = {"route": ROUTE, "provider": PROVIDER, "recipe": RECIPE}
_VARIABLE: Schema = {"type": "string", "pattern": r"\$\{"}
_MARKERS = re.compile(r"<!-- keys: (.+?) -->\n.*?<!-- end -->", re.DOTALL)


class _Definitions:
    """Collects the JSON Schema of each table of one kind of document. In a route, a variable may replace any scalar."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.tables: dict[str, Table] = {}
        self.schemas: dict[str, Schema] = {}

    def of(self, value: Any) -> Any:
        """Return a JSON Schema, with types replaced by their schemas."""
        if isinstance(value, Table):
            name = f"{self.kind}.{value.title.replace(' ', '-')}"
            if name not in self.schemas:
                self.tables[value.title] = value
                self.schemas[name] = {}
                self.schemas[name] = self._table(value)
            return {"$ref": f"#/$defs/{name}"}
        if isinstance(value, Plain):
            schema = self.of(value.json)
            is_scalar = "enum" in schema or schema.get("type", "array") not in ("object", "array")
            return {"anyOf": [schema, _VARIABLE]} if is_scalar and self.kind == "route" else schema
        if isinstance(value, dict):
            return {name: self.of(below) for name, below in value.items()}
        return [self.of(below) for below in value] if isinstance(value, list) else value

    def _table(self, table: Table) -> Schema:
        properties: Schema = {"kind": {"const": table.kind}} if table.kind else {}
        for key in table.keys.values():
            default = table.scalar_default(key)
            properties[key.name] = {**self.of(key.type), "description": key.doc}
            properties[key.name] |= {"default": default} if default else {}
            properties[key.name] |= {"writeOnly": True} if key.secret else {}
        required = [*(["kind"] if table.kind else []), *(k.name for k in table.keys.values() if table.is_required(k))]
        schema = {"type": "object", "properties": properties, "additionalProperties": False}
        return schema | ({"required": required} if required else {})


def json_schema(kind: str | None = None) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of one kind of document, or of all."""
    kinds = [kind] if kind else list(DOCUMENTS)
    definitions = {each: _Definitions(each) for each in kinds}
    schemas = {each: definitions[each].of(DOCUMENTS[each]) for each in kinds}
    *others, choice = schemas.items()
    chosen: Schema = choice[1]
    for each, schema in reversed(others):
        chosen = {"if": {"required": [each]}, "then": schema, "else": chosen}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"metric gateway: {kind or 'specs'}",
        "type": "object",
        **chosen,
        "$defs": {name: schema for each in definitions.values() for name, schema in each.schemas.items()},
    }


def all_tables() -> dict[str, Table]:
    """Return every table by its title."""
    tables: dict[str, Table] = {}
    for kind, table in DOCUMENTS.items():
        definitions = _Definitions(kind)
        definitions.of(table)
        tables |= definitions.tables
    return tables


def with_key_tables(text: str) -> str:
    """Return Markdown in which every table between the markers `keys: TITLE, …` and `end` is up to date."""
    tables = all_tables()

    def up_to_date(match: re.Match[str]) -> str:
        rows = _rows([tables[title] for title in match[1].split(", ")])
        return "\n".join([f"<!-- keys: {match[1]} -->", "", *rows, "", "<!-- end -->"])

    return _MARKERS.sub(up_to_date, text)


def _rows(tables: Sequence[Table]) -> Iterator[str]:
    """Yield the lines of a table. If it has several kinds of map, a column names them, and common keys come first."""
    first, *others = tables
    common = [key for key in first.keys.values() if others and all(key in table.keys.values() for table in others)]
    rows = [(" all |", first, key) for key in common]
    for table in tables:
        title = f" {table.title} |" if others else ""
        rows += [(title, table, key) for key in table.keys.values() if key not in common]
    yield f"| {'of | key' if others else f'key of `{first.title}`'} | value | default | meaning |"
    yield "|---|---|---|---|---|" if others else "|---|---|---|---|"
    for title, table, key in rows:
        default = "" if key in common else _default(table, key)
        yield f"|{title} `{key.name}` | {key.type.words} | {default} | {key.doc} |"


def _default(table: Table, key: Key) -> str:
    if table.is_required(key):
        return "required"
    default = table.scalar_default(key)
    if isinstance(default, bool):
        return "`true`" if default else ""
    return f"`{default:.12g}`" if isinstance(default, float) else f"`{default}`" if default else ""


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
