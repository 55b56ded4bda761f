"""Split calls until each body fits into the vendor's limit."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gateway.core.http.unsigned import UnsignedRequest

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EncodeContext:
    """The clock, the source of call ids, and `size_of`: the bytes of a request's body after signing."""

    now_ns: int
    new_call_id: Callable[[], str]
    size_of: Callable[[UnsignedRequest], int]


def split_to_fit(
    parts: Sequence[T],
    build: Callable[[str, Sequence[T]], UnsignedRequest],
    context: EncodeContext,
    *,
    max_bytes: int | None,
) -> Iterator[tuple[str, UnsignedRequest | None, Sequence[T]] | None]:
    """Build a request of these parts; halve the parts while it is too large.

    Yields the call id, the request and its parts; the request is None if a single part is too large. Yields None for
    each request that was built and halved.
    """
    call_id = context.new_call_id()
    request = build(call_id, parts)
    if max_bytes is None or context.size_of(request) <= max_bytes:
        yield call_id, request, parts
    elif len(parts) == 1:
        yield call_id, None, parts
    else:
        yield None
        middle = len(parts) // 2
        for half in (parts[:middle], parts[middle:]):
            yield from split_to_fit(half, build, context, max_bytes=max_bytes)
