"""Splits what is to travel until each call is within the bytes that its vendor takes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gateway.core.http.unsigned import UnsignedRequest

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EncodeContext:
    """What building a call depends on beside what travels in it: the clock, a new id for each, and a way to measure.

    `size_of` gives the bytes of a call's body as it will be sent, its signature in place.
    """

    now_ns: int
    new_call_id: Callable[[], str]
    size_of: Callable[[UnsignedRequest], int]


def split_to_fit(
    parts: Sequence[T],
    build: Callable[[str, Sequence[T]], UnsignedRequest],
    encoder: EncodeContext,
    *,
    max_bytes: int | None,
) -> Iterator[tuple[str, UnsignedRequest | None, Sequence[T]] | None]:
    """Yield each call by its id, and the parts that travel in it; a lone part that is too large for any has no call.

    None stands for a call that was built and is too large.
    """
    call_id = encoder.new_call_id()
    draft = build(call_id, parts)
    if max_bytes is None or encoder.size_of(draft) <= max_bytes:
        yield call_id, draft, parts
    elif len(parts) == 1:
        yield call_id, None, parts
    else:
        yield None
        middle = len(parts) // 2
        for half in (parts[:middle], parts[middle:]):
            yield from split_to_fit(half, build, encoder, max_bytes=max_bytes)
