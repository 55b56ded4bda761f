"""Work on many stored data points, page by page, so that a live gateway's reports come in between."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from gateway.commands.output.bars import progress
from gateway.commands.queue_client.desk import Desk, Filter
from gateway.core.queue_view import State
from gateway.web.admin.answers import QueuedPoint, QueueState
from gateway.web.admin.queue import LARGEST_PAGE


async def points_of(desk: Desk, wanted: Filter, limit: int) -> tuple[list[QueuedPoint], int]:
    """Return the points of a filter up to the limit, and how many there are."""
    total = total_of(await desk.state(), wanted)
    found: list[QueuedPoint] = []
    with progress("list", min(total, limit), step=LARGEST_PAGE) as advance:
        async for page in desk.pages(wanted, limit):
            found += page
            advance(len(page))
    return found, total


async def change_points(
    desk: Desk,
    change: Callable[[Sequence[int]], Awaitable[int]],
    verb: str,
    ids: Sequence[int] | None,
    wanted: Filter,
    limit: int | None,
) -> int:
    """Change points some at a time; return how many it were."""
    changed = 0
    total = len(ids) if ids else total_of(await desk.state(), wanted, limit)
    with progress(verb, total, step=LARGEST_PAGE) as advance:
        async for some in _portions(ids) if ids else _ids_of(desk.pages(wanted, limit)):
            changed += await change(some)
            advance(len(some))
    return changed


async def _portions(ids: Sequence[int]) -> AsyncIterator[Sequence[int]]:
    for start in range(0, len(ids), LARGEST_PAGE):
        yield ids[start : start + LARGEST_PAGE]


async def _ids_of(pages: AsyncIterator[list[QueuedPoint]]) -> AsyncIterator[Sequence[int]]:
    async for page in pages:
        yield [each.id for each in page]


def total_of(queue: QueueState, wanted: Filter, limit: int | None = None) -> int:
    """Return how many points a filter finds, up to the limit."""
    states = list(State) if wanted.state is None else [wanted.state]
    total: int = sum(
        getattr(each, state)
        for each in queue.targets
        for state in states
        if wanted.route in (None, each.route) and wanted.target in (None, each.target)
    )
    return total if limit is None else min(total, limit)
