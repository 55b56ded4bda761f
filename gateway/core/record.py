"""A decorator for the values that are created for each report."""

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def record(cls: type[T]) -> type[T]:
    """Make a dataclass that type checkers treat as frozen. Python takes three times as long to create a frozen one."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
