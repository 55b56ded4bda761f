"""One path of the admin API as data."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from pydantic import TypeAdapter


@dataclass(frozen=True, slots=True)
class ApiCall:
    """A call of an endpoint: its query, and its body as an object of the endpoint's `takes`."""

    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None


@dataclass(frozen=True, slots=True)
class ApiReply:
    """`data` is written as JSON; it may contain dataclasses."""

    data: Any
    status: int = 200


@dataclass(frozen=True, slots=True)
class Problem:
    """The reply to a failed call."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path. `takes` is the class of its body. `query` describes each of its parameters."""

    method: Literal["GET", "POST"]
    path: str
    handle: Callable[[ApiCall], Awaitable[ApiReply]]
    summary: str
    takes: Any = None
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def changes(self) -> bool:
        return self.method != "GET"


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
