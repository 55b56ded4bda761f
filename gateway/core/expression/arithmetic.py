"""Expression functions that calculate. Numbers may be given as text. Each raises ValueError or ArithmeticError.

Integers stay integers, exact within the range of values of data points. Other results are the nearest double.
"""

from collections.abc import Callable
from math import fsum, isfinite
from typing import Any

from gateway.core.expression.arguments import number, sequence
from gateway.core.text import shown

Number = int | float
LOWEST, HIGHEST = -(2**63), 2**64 - 1


def binary(operation: Callable[[Any, Any], Number]) -> Callable[[Any, Any], Number]:
    """Return the function that applies an operator to two numbers."""
    return lambda one, other: _in_range(operation(number(one, "number"), number(other, "number")))


def divide(one: Number, other: Number) -> Number:
    """Return the quotient: an integer if two integers divide without remainder."""
    if not other:
        raise ValueError(f"{shown(one)} cannot be divided by zero")
    is_exact = isinstance(one, int) and isinstance(other, int) and one % other == 0
    return one // other if is_exact else one / other


def remainder(one: Number, other: Number) -> Number:
    """Return the remainder of the quotient rounded down. It has the sign of the divisor."""
    if not other:
        raise ValueError(f"{shown(one)} cannot be divided by zero")
    return one % other


def weigh(values: Any, counts: Any) -> dict[str, Number] | None:
    """Return {count, sum, min, max} of values that occurred `counts` times, or once each if `counts` is null.

    A count of zero leaves its value out; without any value the result is null.
    """
    given = [number(value, "number") for value in sequence(values)]
    times: list[Number] = [1] * len(given) if counts is None else [number(count, "count") for count in sequence(counts)]
    if len(given) != len(times):
        raise ValueError(f"{len(given)} values have {len(times)} counts")
    if any(count < 0 for count in times):
        raise ValueError(f"the count {shown(min(times))} is negative")
    counted = [(value, count) for value, count in zip(given, times, strict=True) if count]
    if not counted:
        return None
    present = [value for value, _ in counted]
    products = [value * count for value, count in counted]
    return {"count": _sum(times), "sum": _sum(products), "min": min(present), "max": max(present)}


def _sum(numbers: list[Number]) -> Number:
    return _in_range(sum(numbers) if all(isinstance(each, int) for each in numbers) else fsum(numbers))


def _in_range(result: Number) -> Number:
    if isinstance(result, int) and not LOWEST <= result <= HIGHEST:
        raise ValueError(f"the result {shown(result)} is not between -2^63 and 2^64-1")
    if isinstance(result, float) and not isfinite(result):
        raise ValueError("the result is too large")
    return result
