"""gateway queue: list, show, retry and drop stored data points, of a running gateway or of a stopped one."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from gateway.commands.arguments.options import ADMIN_TOKEN, Json
from gateway.commands.output.errors import fail, misuse, warn
from gateway.commands.output.printing import count, heading, line, print_json, print_pairs, table_lines
from gateway.commands.queue.client import LOCAL_ADMIN, Queue, open_queue
from gateway.commands.queue.tables import Row, point_facts, point_rows, state_rows
from gateway.core.queue_view import State
from gateway.web.admin.queue import LARGEST_PAGE

Result = TypeVar("Result")

AdminUrl = Annotated[
    str | None, typer.Option("--admin", metavar="URL", help=f"A live gateway's admin port; default: {LOCAL_ADMIN}.")
]
AdminToken = Annotated[
    str | None,
    typer.Option(metavar="SECRET", envvar=ADMIN_TOKEN, help="Token of its admin API, as env:NAME or file:PATH."),
]
# Not from GATEWAY_DATA: in a container that is the folder of the running gateway.
Data = Annotated[Path | None, typer.Option(metavar="DIR", help="A stopped gateway's folder, in place of --admin.")]
OfRoute = Annotated[str | None, typer.Option("--route", metavar="ROUTE", help="Only those of this route.")]
ToTarget = Annotated[
    str | None, typer.Option("--target", metavar="NAME", help="Only those to this target: send, or a mirror.")
]
WithReason = Annotated[
    str | None, typer.Option("--reason", metavar="REASON", help="Only those with this reason, such as TOO_OLD.")
]
InState = Annotated[
    State | None,
    typer.Option("--point-state", metavar="STATE", help="Only data points that are queued, leased or dead_letter."),
]
ThoseInState = Annotated[
    State | None,
    typer.Option("--point-state", metavar="STATE", help="queued, leased or dead_letter (the default)."),
]
Ids = Annotated[list[int] | None, typer.Argument(metavar="ID", min=1, help="Ids of data points, see list.")]
AtMost = Annotated[int | None, typer.Option(min=1, metavar="N", help="At most so many; default: all.")]


def list_(
    route: OfRoute = None,
    target: ToTarget = None,
    reason: WithReason = None,
    state: InState = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many.")] = 100,
    admin: AdminUrl = None,
    admin_token: AdminToken = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """List stored data points by their ids.

    With --json, each is a line.

    \b
    Example:
      gateway queue list --point-state dead_letter --route acme-to-zeta
    """
    filters = _filters(route, target, reason, state)

    async def work(queue: Queue) -> tuple[list[Row], int]:
        found: list[Row] = []
        while (left := limit - len(found)) > 0:
            after = found[-1]["id"] if found else 0
            page = await queue.get("/points", **filters, after=after, limit=min(left, LARGEST_PAGE))
            if not page["points"]:
                return found, len(found)
            found += page["points"]
        return found, (await queue.get("/count", **filters))["points"]

    found, total = _run(open_queue(admin, admin_token, data), work)
    if json:
        for point in found:
            print_json(point)
    elif found:
        _print_table(point_rows(found, time.time()))
    if len(found) < total:
        warn(f"{len(found)} of {count(total, 'data point')}; --limit shows more")
    elif not found and not json:
        line("no data point is stored" + (" that matches" if filters else ""))


def show(
    number: Annotated[int | None, typer.Argument(metavar="ID", min=1, help="Id of a data point, see list.")] = None,
    admin: AdminUrl = None,
    admin_token: AdminToken = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Show what is stored for each target, or one data point.

    \b
    Example:
      gateway queue show 12
    """
    queue = open_queue(admin, admin_token, data)
    if number is not None:
        point = _run(queue, lambda opened: opened.get("/point", "id", id=number))
        if json:
            print_json(point)
        else:
            heading(f"data point {number}")
            print_pairs(point_facts(point, time.time()))
        return
    state = _run(queue, lambda opened: opened.get("", "targets"))
    if json:
        print_json(state)
    elif state["targets"]:
        _print_table(state_rows(state["targets"], time.time()))
    else:
        line("no data point was ever stored")
    if state["failure"] is not None:
        warn(f"the queue cannot use its disk: {state['failure']}")
    for name in state["damaged_files"]:
        warn(f"{name} in the data folder is damaged; its data points are not sent until they are recovered")


def retry(
    ids: Ids = None,
    route: OfRoute = None,
    target: ToTarget = None,
    reason: WithReason = None,
    state: ThoseInState = None,
    limit: AtMost = None,
    admin: AdminUrl = None,
    admin_token: AdminToken = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Make dead letters and postponed data points due.

    Selects them by id, or by filters. Exits 1 when one of the ids does not exist, is due already, or is being sent.

    \b
    Example:
      gateway queue retry --point-state dead_letter --route acme-to-zeta
    """
    which = _selected(ids, _filters(route, target, reason, state), limit)
    changed = _run(open_queue(admin, admin_token, data), lambda queue: queue.change("/retry", which))
    _print_changed(changed, "made due", ids, json)


def drop(
    ids: Ids = None,
    route: OfRoute = None,
    target: ToTarget = None,
    reason: WithReason = None,
    state: ThoseInState = None,
    limit: AtMost = None,
    yes: Annotated[bool, typer.Option("--yes", help="Confirm that the filters select the right ones.")] = False,
    admin: AdminUrl = None,
    admin_token: AdminToken = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Delete data points.

    Selects them by id, or by filters with --yes. Exits 1 when one of the ids does not exist.

    \b
    Example:
      gateway queue drop 12 13
    """
    which = _selected(ids, _filters(route, target, reason, state), limit)

    async def work(queue: Queue) -> int:
        if not ids and not yes:
            filters = {name: value for name, value in which.items() if name != "limit"}
            total = (await queue.get("/count", **filters))["points"]
            total = total if limit is None else min(total, limit)
            fail(f"this would delete {count(total, 'data point')}; to do it, give --yes")
        return await queue.change("/drop", which)

    _print_changed(_run(open_queue(admin, admin_token, data), work), "dropped", ids, json)


def _run(queue: AbstractAsyncContextManager[Queue], work: Callable[[Queue], Awaitable[Result]]) -> Result:
    async def main() -> Result:
        async with queue as opened:
            return await work(opened)

    return asyncio.run(main())


def _filters(route: str | None, target: str | None, reason: str | None, state: State | None) -> dict[str, Any]:
    filters = {"route": route, "target": target, "reason": reason, "state": state}
    return {name: value for name, value in filters.items() if value is not None}


def _selected(ids: list[int] | None, filters: dict[str, Any], limit: int | None) -> dict[str, Any]:
    """Return the body of a change. It defaults to dead letters, so queued points are not dropped by accident."""
    if ids and (filters or limit is not None):
        misuse("name the ids, or filter by --route, --target, --reason, --point-state and --limit; not both")
    if ids:
        return {"ids": ids}
    if not filters:
        misuse("name the ids, or filter by --route, --target, --reason or --point-state")
    return {"state": State.DEAD_LETTER} | filters | ({} if limit is None else {"limit": limit})


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    for text in table_lines(rows):
        line(text)


def _print_changed(changed: int, verb: str, ids: Sequence[int] | None, json: bool) -> None:
    if json:
        print_json({"points": changed})
    else:
        line(f"{count(changed, 'data point')} {verb}")
    others = len(set(ids or ())) - changed
    if others > 0:
        warn(f"{others} of the ids: the data point does not exist, or nothing had to change")
        raise typer.Exit(1)
