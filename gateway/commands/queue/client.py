"""Calls the admin API of a running gateway, or the same functions on the data folder of a stopped one."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from gateway.commands.arguments.options import base_url, read_admin_token
from gateway.commands.output.errors import fail, misuse
from gateway.core.http.json import read_json, write_json
from gateway.core.http.request import Headers, PublicUrl, Request, Response
from gateway.core.http.url import address_of
from gateway.core.outcome.errors import GatewayError, UpstreamError
from gateway.core.outcome.outcome import Reason
from gateway.delivery.queue import CannotOpen, Held, Store
from gateway.logs import configure
from gateway.web.admin.app import answer as run_endpoint
from gateway.web.admin.guard import CSRF_HEADER
from gateway.web.admin.queue import PATH, QueueApi

LOCAL_ADMIN = "http://127.0.0.1:9091"
TIMEOUT = aiohttp.ClientTimeout(total=120, sock_connect=5)
HERE = PublicUrl("http", "localhost")


@dataclass(frozen=True, slots=True)
class Queue:
    """The queue of one gateway. `option` is the one that names it."""

    option: str
    url: PublicUrl
    send: Callable[[Request], Awaitable[Response]]
    headers: Headers = field(default=(), repr=False)  # may hold the token

    async def get(self, path: str, has: str = "points", **query: Any) -> dict[str, Any]:
        """Return the reply, which has this member. Raises UserError."""
        given = {name: value for name, value in query.items() if value is not None}
        return await self._call("GET", path + (f"?{urlencode(given)}" if given else ""), has)

    async def change(self, path: str, members: Mapping[str, Any]) -> int:
        """Return the number of changed points. Raises UserError."""
        return int((await self._call("POST", path, "points", write_json(members)))["points"])

    async def _call(self, method: str, target: str, has: str, body: bytes = b"") -> dict[str, Any]:
        headers = (("Host", self.url.host), ("Content-Type", "application/json"), CSRF_HEADER, *self.headers)
        try:
            reply = await self.send(Request(method, self.url.prefix + PATH + target, headers, body, self.url.scheme))
        except GatewayError as error:
            fail(f"{self.option}: {error.outcome.message}; for the queue of a stopped gateway, give --data DIR")
        try:
            members: dict[str, Any] = read_json(reply.body)
            found = members[has if reply.status == 200 else "message"]
        except (ValueError, TypeError, KeyError):
            what = f"{self.url.host} does not answer as a gateway's admin port does (status {reply.status})"
            fail(f"{self.option}: {what}")
        return members if reply.status == 200 else fail(f"{self.option}: {found}")


@asynccontextmanager
async def open_queue(admin: str | None, admin_token: str | None, data: Path | None) -> AsyncIterator[Queue]:
    """Yield the queue of the gateway at this admin URL, or that in the data folder of a stopped one."""
    if data is None:
        url = base_url(admin or LOCAL_ADMIN, "--admin")
        token = None if admin_token is None else read_admin_token(admin_token)
        headers = () if token is None else (("Authorization", f"Bearer {token.reveal()}"),)
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
            yield Queue("--admin", url, partial(_send, session), headers)
        return
    if admin is not None:
        misuse("--data and --admin: give --admin for a running gateway, --data for a stopped one")
    if not any(data.glob("queue*.db*")):
        fail(f"--data: {data} contains no queue")
    configure("warning", "text")  # opening the folder logs damaged files
    try:
        store = await Store.open(data)
    except Held as error:
        fail(f"--data: {error.what}; to query that gateway, give --admin URL")
    except CannotOpen as error:
        fail(f"--data: {error}")
    try:
        yield Queue("--data", HERE, partial(run_endpoint, QueueApi(store).table()))
    finally:
        await store.close()


async def _send(session: aiohttp.ClientSession, request: Request) -> Response:
    url, body = URL(request.url, encoded=True), request.body or None
    try:
        async with session.request(request.method, url, headers=request.headers, data=body) as answer:
            return Response(answer.status, (), await answer.read())
    except (aiohttp.ClientError, OSError) as error:
        errno = error.errno if isinstance(error, OSError) else None
        what = os.strerror(errno).lower() if errno else str(error) or "no answer in time"
        raise UpstreamError.of(Reason.UPSTREAM_DOWN, f"{address_of(request.scheme, request.host)}: {what}") from None
