"""The queue of a running gateway, over its admin API, or of a stopped one, by opening its data folder."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from pydantic import ValidationError

from gateway.commands.output.errors import fail
from gateway.core.http.json import read_json, write_json
from gateway.core.http.request import PublicUrl, Request, Response, Secret
from gateway.core.outcome.errors import GatewayError
from gateway.core.queue_view import PointFilter, QueueState, StoredPoint
from gateway.delivery.client import Client, Timeouts
from gateway.delivery.queue import CannotOpen, Held, Store
from gateway.web.admin.endpoint import Problem, adapter
from gateway.web.admin.guard import CSRF_HEADER
from gateway.web.admin.queue import LARGEST_PAGE, query_of

MAX_ANSWER_BYTES = 67_108_864
TIMEOUTS = Timeouts(connect_s=5, total_s=120)


@asynccontextmanager
async def remote_queue(url: PublicUrl, token: Secret | None) -> AsyncIterator["RemoteQueue"]:
    """Yield the queue of the gateway whose admin port has this URL."""
    client = Client(max_reply_bytes=MAX_ANSWER_BYTES)
    try:
        yield RemoteQueue(client, url, token)
    finally:
        await client.close()


@asynccontextmanager
async def stopped_queue(folder: Path) -> AsyncIterator[Store]:
    """Open the data folder of a stopped gateway. Raises UserError if it cannot be opened."""
    if not any(folder.glob("queue*.db*")):
        fail(f"--data: {folder} contains no queue")
    try:
        store = await Store.open(folder)
    except Held as error:
        fail(f"--data: {error.what}; to query that gateway, give --admin URL")
    except CannotOpen as error:
        fail(f"--data: {error}")
    try:
        yield store
    except GatewayError as error:
        fail(f"--data: {error.outcome.message}")
    finally:
        await store.close()


@dataclass(frozen=True, slots=True)
class RemoteQueue:
    """Has the methods of `Store` that the commands use. They raise UserError if the call fails."""

    client: Client
    url: PublicUrl
    token: Secret | None = field(repr=False)

    async def state(self) -> QueueState:
        state: QueueState = await self._call(QueueState, "GET", "")
        return state

    async def point(self, point_id: int) -> StoredPoint | None:
        point: StoredPoint = await self._call(StoredPoint, "GET", "/point", {"id": str(point_id)})
        return point

    async def points(self, which: PointFilter, *, after: int, limit: int) -> list[StoredPoint]:
        query = query_of(which) | {"after": str(after), "limit": str(limit)}
        page: dict[str, list[StoredPoint]] = await self._call(dict[str, list[StoredPoint]], "GET", "/points", query)
        return page["points"]

    async def count(self, which: PointFilter) -> int:
        counted: dict[str, int] = await self._call(dict[str, int], "GET", "/count", query_of(which))
        return counted["points"]

    async def retry(self, which: PointFilter, limit: int | None = None) -> int:
        return await self._change("/retry", which, limit)

    async def drop(self, which: PointFilter, limit: int | None = None) -> int:
        return await self._change("/drop", which, limit)

    async def _change(self, path: str, which: PointFilter, limit: int | None) -> int:
        members = {name: value for name, value in (asdict(which) | {"limit": limit}).items() if value is not None}
        ids = which.ids or []
        parts = [{"ids": ids[at : at + LARGEST_PAGE]} for at in range(0, len(ids), LARGEST_PAGE)] or [members]
        return sum([(await self._call(dict[str, int], "POST", path, body=part))["points"] for part in parts])

    async def _call(
        self, kind: Any, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None
    ) -> Any:
        headers = [("Host", self.url.host), ("Accept", "application/json"), CSRF_HEADER]
        if body is not None:
            headers.append(("Content-Type", "application/json"))
        if self.token is not None:
            headers.append(("Authorization", f"Bearer {self.token.reveal()}"))
        target = f"{self.url.prefix}/api/queue{path}" + (f"?{urlencode(query)}" if query else "")
        content = b"" if body is None else write_json(body)
        try:
            answer = await self.client.send(
                Request(method, target, tuple(headers), content, self.url.scheme), timeouts=TIMEOUTS
            )
        except GatewayError as error:
            fail(f"--admin: {error.outcome.message}; for the queue of a stopped gateway, give --data DIR")
        if answer.status != 200:
            fail(f"--admin: {_read(answer, Problem, self.url.host).message}")
        return _read(answer, kind, self.url.host)


def _read(answer: Response, kind: Any, host: str) -> Any:
    try:
        return adapter(kind).validate_python(read_json(answer.body))
    except (ValueError, ValidationError):
        fail(f"--admin: {host} does not answer as a gateway's admin port does (status {answer.status})")
