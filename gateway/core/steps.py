"""Long work as a generator. It yields between its steps, so its caller can interleave other work.

It yields True before a step that may take long.
"""

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
Steps = Generator[bool, None, T]
# Items per step: a report of fewer items is one step.
STEP_ITEMS = 65


def finish(steps: Steps[T]) -> T:
    """Run all steps and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
