"""gateway queue: what is stored and not delivered, and what a person does about it. The gateway may live or not."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from gateway.commands.arguments.credentials import ADMIN_TOKEN, read_admin_token
from gateway.commands.arguments.options import Json, fail, misuse, warn
from gateway.commands.arguments.targets import base_url
from gateway.commands.output.printing import count, line, print_facts, print_json
from gateway.commands.output.tables import markdown
from gateway.commands.queue_client.desk import Desk, Filter, live, stopped
from gateway.commands.queue_client.words import depth_table, point_facts, point_table
from gateway.commands.queue_client.work import change_points, points_of, total_of
from gateway.core.queue_view import State
from gateway.logs import configure
from gateway.web.admin.answers import QueueState

LOCAL_ADMIN = "http://127.0.0.1:9091"
Answer = TypeVar("Answer")

AdminUrl = Annotated[
    str | None, typer.Option("--admin", metavar="URL", help=f"A live gateway's admin port; default: {LOCAL_ADMIN}.")
]
AdminToken = Annotated[
    str | None,
    typer.Option(metavar="SECRET", envvar=ADMIN_TOKEN, help="What it asks for, as env:NAME or file:PATH."),
]
# Not from GATEWAY_DATA: in a container it names the folder that the live gateway holds.
Data = Annotated[Path | None, typer.Option(metavar="DIR", help="A stopped gateway's folder, in place of --admin.")]
OfRoute = Annotated[str | None, typer.Option("--route", metavar="ROUTE", help="Only those of this route.")]
ToTarget = Annotated[
    str | None, typer.Option("--target", metavar="NAME", help="Only those to this target: send, or a mirror.")
]
InState = Annotated[
    State | None,
    typer.Option("--point-state", metavar="STATE", help="Only data points that are queued, leased or dead_letter."),
]
ThoseInState = Annotated[
    State | None,
    typer.Option("--point-state", metavar="STATE", help="queued, leased or dead_letter (the default)."),
]
Ids = Annotated[list[int] | None, typer.Argument(metavar="ID", min=1, help="Data points, as they are listed.")]
AtMost = Annotated[int | None, typer.Option(min=1, metavar="N", help="At most so many; default: all.")]


def list_(
    route: OfRoute = None,
    target: ToTarget = None,
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
    wanted = Filter(route, target, state)
    found, total = _ask(_desk(admin, admin_token, data), lambda desk: points_of(desk, wanted, limit))
    if json:
        for each in found:
            print_json(asdict(each))
    elif found:
        _print_table(point_table(found, time.time()))
    if len(found) < total:
        warn(f"{len(found)} of {count(total, 'data point')}; --limit shows more")
    elif not found and not json:
        line("no data point is stored" + (" that fits" if wanted.stated else ""))


def show(
    number: Annotated[int | None, typer.Argument(metavar="ID", min=1, help="A data point, as it is listed.")] = None,
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
    desk = _desk(admin, admin_token, data)
    if number is None:
        _print_state(_ask(desk, Desk.state), json)
        return
    point = _ask(desk, lambda desk: desk.point(number))
    if json:
        print_json(asdict(point))
    else:
        print_facts(point_facts(point, time.time()))


def retry(
    ids: Ids = None,
    route: OfRoute = None,
    target: ToTarget = None,
    state: ThoseInState = None,
    limit: AtMost = None,
    admin: AdminUrl = None,
    admin_token: AdminToken = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Make dead letters and postponed data points due.

    Those of the ids, or of the filters. Exits 1 when one of the ids is not there, or due or on its way already.

    \b
    Example:
      gateway queue retry --point-state dead_letter --route acme-to-zeta
    """
    wanted = _wanted(ids, Filter(route, target, state), limit)
    changed = _ask(
        _desk(admin, admin_token, data), lambda desk: change_points(desk, desk.retry, "retry", ids, wanted, limit)
    )
    _print_changed(changed, "made due", ids, json)


def drop(
    ids: Ids = None,
    route: OfRoute = None,
    target: ToTarget = None,
    state: ThoseInState = None,
    limit: AtMost = None,
    yes: Annotated[bool, typer.Option("--yes", help="Drop what the filters find.")] = False,
    admin: AdminUrl = None,
    admin_token: AdminToken = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Forget data points for good.

    Those of the ids, or of the filters, which needs --yes. Exits 1 when one of the ids is not there.

    \b
    Example:
      gateway queue drop 12 13
    """
    wanted = _wanted(ids, Filter(route, target, state), limit)

    async def work(desk: Desk) -> int:
        if not ids and not yes:
            total = total_of(await desk.state(), wanted, limit)
            fail(f"this would drop {count(total, 'data point')} for good; to do it, give --yes")
        return await change_points(desk, desk.drop, "drop", ids, wanted, limit)

    _print_changed(_ask(_desk(admin, admin_token, data), work), "dropped", ids, json)


def _desk(admin: str | None, admin_token: str | None, data: Path | None) -> AbstractAsyncContextManager[Desk]:
    if data is None:
        token = None if admin_token is None else read_admin_token(admin_token)
        return live(base_url(admin or LOCAL_ADMIN, "--admin"), token)
    if admin is not None:
        misuse("--data: the queue of a live gateway is asked for by --admin, that of a stopped one by --data; give one")
    configure("warning", "text")  # opening may have to mend the file, and says so
    return stopped(data)


def _ask(desk: AbstractAsyncContextManager[Desk], work: Callable[[Desk], Awaitable[Answer]]) -> Answer:
    async def main() -> Answer:
        async with desk as opened:
            return await work(opened)

    return asyncio.run(main())


def _wanted(ids: Sequence[int] | None, wanted: Filter, limit: int | None) -> Filter:
    """Return the filter of a change. It defaults to dead letters, so queued points are not dropped by accident."""
    if ids and (wanted.stated or limit is not None):
        misuse("name the ids, or filter by --route, --target, --state and --limit; not both")
    if not ids and not wanted.stated:
        misuse("name the ids, or filter by --route, --target or --state")
    return replace(wanted, state=wanted.state or State.DEAD_LETTER)


def _print_state(queue: QueueState, json: bool) -> None:
    if json:
        print_json(asdict(queue))
    elif queue.targets:
        _print_table(depth_table(queue.targets, time.time()))
    else:
        line("nothing was ever stored")
    if queue.failure is not None:
        warn(f"the disk of the queue fails: {queue.failure}")
    for name in queue.damaged_files:
        warn(f"{name} in the data folder is damaged; its data points are not sent until they are recovered")


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    for text in markdown(rows):
        line(text)


def _print_changed(changed: int, verb: str, ids: Sequence[int] | None, json: bool) -> None:
    if json:
        print_json({"points": changed})
    else:
        line(f"{count(changed, 'data point')} {verb}")
    others = len(set(ids or ())) - changed
    if others > 0:
        warn(f"{others} of the ids: no such data point is there, or it needs none of this")
        raise typer.Exit(1)
