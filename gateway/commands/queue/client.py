"""Asks the admin API about the queue: that of a running gateway, or its handlers in this process for the folder of a
stopped one. Answers are plain JSON, whose keys gateway/web/admin documents."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from gateway.commands.output.errors import fail
from gateway.core.http.json import read_json, write_json
from gateway.core.http.request import PublicUrl, Request, Secret
from gateway.core.outcome.errors import GatewayError
from gateway.core.queue_view import State
from gateway.delivery.client import Client, Timeouts
from gateway.delivery.queue import CannotOpen, Held, Store
from gateway.web.admin.endpoint import ApiCall
from gateway.web.admin.guard import CSRF_HEADER, Denied
from gateway.web.admin.queue import LARGEST_PAGE, QueueCalls, Which, queue_endpoints

MAX_ANSWER_BYTES = 67_108_864
TIMEOUTS = Timeouts(connect_s=5, total_s=120)


class Call(NamedTuple):
    """An endpoint of the admin API, and a member that each of its answers has."""

    method: str
    path: str
    member: str


STATE = Call("GET", "/api/queue", "targets")
POINT = Call("GET", "/api/queue/point", "id")
POINTS = Call("GET", "/api/queue/points", "points")
RETRY = Call("POST", "/api/queue/retry", "points")
DROP = Call("POST", "/api/queue/drop", "points")

Json = dict[str, Any]
Filters = Mapping[str, Any]
# Takes a call, its query and its body. Raises UserError if it fails.
Ask = Callable[[Call, Mapping[str, Any], Json | None], Awaitable[Json]]


@asynccontextmanager
async def live(url: PublicUrl, token: Secret | None) -> AsyncIterator[Ask]:
    """Ask a running gateway; `url` is that of its admin port."""
    client = Client(max_reply_bytes=MAX_ANSWER_BYTES)

    async def ask(call: Call, query: Mapping[str, Any], body: Json | None) -> Json:
        headers = [("Host", url.host), ("Accept", "application/json"), CSRF_HEADER]
        headers += [("Content-Type", "application/json")] if body is not None else []
        headers += [("Authorization", f"Bearer {token.reveal()}")] if token is not None else []
        target = f"{url.prefix}{call.path}" + (f"?{urlencode(query)}" if query else "")
        content = b"" if body is None else write_json(body)
        try:
            answer = await client.send(
                Request(call.method, target, tuple(headers), content, url.scheme), timeouts=TIMEOUTS
            )
            found = read_json(answer.body)
        except GatewayError as error:
            fail(f"--admin: {error.outcome.message}; for the queue of a stopped gateway, give --data DIR")
        except ValueError:
            found = None
        wanted = call.member if answer.status == 200 else "message"
        if not isinstance(found, dict) or wanted not in found:
            fail(f"--admin: {url.host} does not answer as a gateway's admin port does (status {answer.status})")
        if answer.status != 200:
            fail(f"--admin: {found['message']}")
        return found

    try:
        yield ask
    finally:
        await client.close()


@asynccontextmanager
async def stopped(folder: Path) -> AsyncIterator[Ask]:
    """Ask about the folder of a stopped gateway. Raises UserError if it cannot be opened."""
    if not any(folder.glob("queue*.db*")):
        fail(f"--data: {folder} holds no queue")
    try:
        store = await Store.open(folder)
    except Held as error:
        fail(f"--data: {error.what}; ask that one: --admin URL")
    except CannotOpen as error:
        fail(f"--data: {error}")
    handlers = {f"{each.method} {each.path}": each.handle for each in queue_endpoints(QueueCalls(store))}

    async def ask(call: Call, query: Mapping[str, Any], body: Json | None) -> Json:
        texts = {name: str(value) for name, value in query.items()}
        try:
            answer = await handlers[f"{call.method} {call.path}"](ApiCall(texts, body and Which(**body)))
        except Denied as denied:
            fail(denied.message)
        except GatewayError as error:
            fail(f"--data: {error.outcome.message}")
        return asdict(answer.data)

    try:
        yield ask
    finally:
        await store.close()


async def stored_points(ask: Ask, filters: Filters, limit: int) -> list[Json]:
    """Return the data points that the filters select, by id."""
    found: list[Json] = []
    while len(found) < limit:
        after = found[-1]["id"] if found else 0
        page = {"after": after, "limit": min(limit - len(found), LARGEST_PAGE)}
        points = (await ask(POINTS, {**filters, **page}, None))["points"]
        if not points:
            break
        found += points
    return found


async def change(ask: Ask, call: Call, ids: Sequence[int], filters: Filters) -> int:
    """Retry or drop data points by their ids, or by filters. Return how many were changed."""
    if not ids:
        return int((await ask(call, {}, dict(filters)))["points"])
    parts = [list(ids[start : start + LARGEST_PAGE]) for start in range(0, len(ids), LARGEST_PAGE)]
    return sum([(await ask(call, {}, {"ids": part}))["points"] for part in parts])


async def count_points(ask: Ask, filters: Filters) -> int:
    """Return how many data points the filters select."""
    total: int = sum(
        target[state]
        for target in (await ask(STATE, {}, None))["targets"]
        for state in ([filters["state"]] if "state" in filters else State)
        if all(filters.get(name) in (None, target[name]) for name in ("route", "target"))
    )
    limit: int = filters.get("limit", total)
    return min(total, limit)
