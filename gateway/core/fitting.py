"""Splits what is to travel until each call is within the bytes that its vendor takes."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from gateway.core.draft import Draft

T = TypeVar("T")


def fitting(
    parts: Sequence[T],
    build: Callable[[str, Sequence[T]], Draft],
    *,
    max_bytes: int | None,
    size_of: Callable[[Draft], int],
    new_call_id: Callable[[], str],
) -> Iterator[tuple[str, Draft | None, Sequence[T]]]:
    """Yield each call by its id, and the parts that travel in it; a lone part that is too large for any has no call."""
    call_id = new_call_id()
    draft = build(call_id, parts)
    if max_bytes is None or size_of(draft) <= max_bytes:
        yield call_id, draft, parts
    elif len(parts) == 1:
        yield call_id, None, parts
    else:
        middle = len(parts) // 2
        for half in (parts[:middle], parts[middle:]):
            yield from fitting(half, build, max_bytes=max_bytes, size_of=size_of, new_call_id=new_call_id)
