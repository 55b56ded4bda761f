"""Long work in steps: a generator that yields between them, so that its caller can do other work in between.

It yields True if the next step alone may take long.
"""

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
Steps = Generator[bool, None, T]


def finish(steps: Steps[T]) -> T:
    """Run all steps, and return their result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
