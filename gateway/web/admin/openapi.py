"""One path of the admin API as data, and the OpenAPI document of a table of them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from typing import Any, Literal

from pydantic import TypeAdapter

from gateway import __version__
from gateway.web.admin.answers import Problem
from gateway.web.admin.guard import OURS

Mode = Literal["serialization", "validation"]
Schemas = Mapping[tuple[Any, Mode], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a handler may read of a call: its query, and its body as the endpoint's `takes`."""

    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None


@dataclass(frozen=True, slots=True)
class Answer:
    data: Any
    status: int = 200


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path. `gives` is the class of its answer by status, `takes` that of its body.

    `query` has a word on each parameter that it knows.
    """

    method: Literal["GET", "POST"]
    path: str
    handle: Callable[[Asked], Awaitable[Answer]]
    summary: str
    gives: Mapping[int, Any]
    takes: Any = None
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def changes(self) -> bool:
        return self.method != "GET"


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the table."""
    given = {kind for each in endpoints for kind in each.gives.values()} | {Problem}
    taken = {each.takes for each in endpoints if each.takes is not None}
    kinds: list[tuple[Any, Mode, TypeAdapter[Any]]] = [
        *((kind, "serialization", adapter(kind)) for kind in given),
        *((kind, "validation", adapter(kind)) for kind in taken),
    ]
    schemas, named = TypeAdapter.json_schemas(kinds, ref_template="#/components/schemas/{model}")
    paths: dict[str, dict[str, Any]] = {}
    for each in endpoints:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, schemas)
    token = {"type": "http", "scheme": "bearer", "description": "that of --admin-token, where there is one"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "metric gateway", "version": __version__},
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(named["$defs"].items())),
            "securitySchemes": {"token": token},
        },
    }


def _operation(endpoint: Endpoint, schemas: Schemas) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"in": "query", "name": name, "description": word, "schema": {"type": "string"}}
        for name, word in endpoint.query.items()
    ]
    responses = {
        str(status): {"description": HTTPStatus(status).phrase, **_content(schemas[kind, "serialization"])}
        for status, kind in endpoint.gives.items()
    }
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "responses": {
            **responses,
            "default": {"description": "Refused", **_content(schemas[Problem, "serialization"])},
        },
    }
    if endpoint.changes:
        name, value = OURS
        parameters.append({"in": "header", "name": name, "required": True, "schema": {"const": value}})
    if parameters:
        operation["parameters"] = parameters
    if endpoint.takes is not None:
        operation["requestBody"] = _content(schemas[endpoint.takes, "validation"])
        operation["requestBody"]["required"] = True
    return operation


def _content(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}
