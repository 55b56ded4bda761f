"""One desk for the queue of a gateway, be it live (over its admin API) or stopped (its folder, opened here).

Both are asked by the admin API's own table: what is stopped is answered by the handlers in this process.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

from pydantic import ValidationError

from gateway.commands.arguments.options import fail
from gateway.core.http.json import read_json, write_json
from gateway.core.http.request import PublicUrl, Request, Response, Secret
from gateway.core.outcome.errors import GatewayError
from gateway.core.queue_view import State
from gateway.delivery.client import Client, Timeouts
from gateway.delivery.queue import CannotOpen, Held, Store
from gateway.web.admin.answers import Changed, Problem, QueuedPoint, QueuedPoints, QueueState
from gateway.web.admin.endpoint import ApiCall, Endpoint, adapter
from gateway.web.admin.guard import CSRF_HEADER, Denied
from gateway.web.admin.queue import LARGEST_PAGE, QueueCalls, Which, queue_endpoints

MAX_ANSWER_BYTES = 67_108_864
TIMEOUTS = Timeouts(connect_s=5, total_s=120)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which points are meant; None stands for any."""

    route: str | None = None
    target: str | None = None
    state: State | None = None

    @property
    def stated(self) -> dict[str, str]:
        return {name: value for name, value in asdict(self).items() if value is not None}


class Line(Protocol):
    """One way to ask. Raises UserError where there is no answer, or a refusal."""

    async def ask(self, endpoint: Endpoint, query: Mapping[str, str], body: Which | None) -> Any: ...


class Desk:
    """What commands ask of a queue."""

    def __init__(self, line: Line, calls: QueueCalls | None = None) -> None:
        self._line = line
        self._table = {f"{each.method} {each.path}": each for each in queue_endpoints(calls or QueueCalls())}

    async def state(self) -> QueueState:
        found: QueueState = await self._ask("GET /api/queue")
        return found

    async def point(self, number: int) -> QueuedPoint:
        found: QueuedPoint = await self._ask("GET /api/queue/point", {"id": str(number)})
        return found

    async def pages(self, wanted: Filter, limit: int | None) -> AsyncIterator[list[QueuedPoint]]:
        """Yield the points of a filter by their ids, up to `limit`, some at a time."""
        after, left = 0, limit
        while left is None or left > 0:
            paging = {"after": str(after), "limit": str(min(left or LARGEST_PAGE, LARGEST_PAGE))}
            page: QueuedPoints = await self._ask("GET /api/queue/points", wanted.stated | paging)
            if not page.points:
                return
            yield page.points
            after = page.points[-1].id
            left = None if left is None else left - len(page.points)

    async def retry(self, ids: Sequence[int]) -> int:
        return await self._change("POST /api/queue/retry", ids)

    async def drop(self, ids: Sequence[int]) -> int:
        return await self._change("POST /api/queue/drop", ids)

    async def _change(self, call: str, ids: Sequence[int]) -> int:
        changed: Changed = await self._ask(call, body=Which(ids=list(ids)))
        return changed.points

    async def _ask(self, call: str, query: Mapping[str, str] | None = None, body: Which | None = None) -> Any:
        return await self._line.ask(self._table[call], query or {}, body)


@asynccontextmanager
async def live(url: PublicUrl, token: Secret | None) -> AsyncIterator[Desk]:
    """Give the desk of a gateway that runs; `url` is that of its admin port."""
    client = Client(max_reply_bytes=MAX_ANSWER_BYTES)
    try:
        yield Desk(_Live(client, url, token))
    finally:
        await client.close()


@asynccontextmanager
async def stopped(folder: Path) -> AsyncIterator[Desk]:
    """Give the desk of a gateway that does not run. Raises UserError where its folder cannot be opened."""
    if not any(folder.glob("queue*.db*")):
        fail(f"--data: {folder} holds no queue")
    try:
        store = await Store.open(folder)
    except Held as error:
        fail(f"--data: {error.what}; ask that one: --admin URL")
    except CannotOpen as error:
        fail(f"--data: {error}")
    try:
        yield Desk(_Stopped(), QueueCalls(store))
    finally:
        await store.close()


@dataclass(frozen=True, slots=True)
class _Live:
    client: Client
    url: PublicUrl
    token: Secret | None = field(repr=False)

    async def ask(self, endpoint: Endpoint, query: Mapping[str, str], body: Which | None) -> Any:
        try:
            answer = await self.client.send(self._request(endpoint, query, body), timeouts=TIMEOUTS)
        except GatewayError as error:
            fail(f"--admin: {error.outcome.message}; for the queue of a stopped gateway, give --data DIR")
        if answer.status != 200:
            fail(f"--admin: {_read(answer, Problem, self.url.host).message}")
        return _read(answer, endpoint.gives, self.url.host)

    def _request(self, endpoint: Endpoint, query: Mapping[str, str], body: Which | None) -> Request:
        content = b"" if body is None else write_json({"ids": body.ids})
        headers = [("Host", self.url.host), ("Accept", "application/json"), CSRF_HEADER]
        headers += [("Content-Type", "application/json")] if content else []
        headers += [("Authorization", f"Bearer {self.token.reveal()}")] if self.token is not None else []
        target = f"{self.url.prefix}{endpoint.path}" + (f"?{urlencode(query)}" if query else "")
        return Request(endpoint.method, target, tuple(headers), content, self.url.scheme)


class _Stopped:
    async def ask(self, endpoint: Endpoint, query: Mapping[str, str], body: Which | None) -> Any:
        try:
            return (await endpoint.handle(ApiCall(query, body))).data
        except Denied as denied:
            fail(denied.message)
        except GatewayError as error:
            fail(f"--data: {error.outcome.message}")


def _read(answer: Response, kind: Any, host: str) -> Any:
    try:
        return adapter(kind).validate_python(read_json(answer.body))
    except (ValueError, ValidationError):
        fail(f"--admin: {host} does not answer as a gateway's admin port does (status {answer.status})")
