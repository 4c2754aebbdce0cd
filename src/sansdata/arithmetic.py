"""Small sums that several rooms do: whole numbers that are rounded up, and the shape of a schedule."""

from __future__ import annotations

import math
from collections.abc import Callable


def ceil_div(count: int, size: int) -> int:
    """How many groups of `size` hold `count` things: the quotient, rounded up. Raises ZeroDivisionError for size 0."""
    return -(-count // size)


def most(affordable: Callable[[int], bool], limit: int) -> int:
    """The largest whole number that is affordable, by doubling and halving; 0 where 1 is not; below twice the limit.

    affordable: holds up to some number and for none above it.
    """
    low, high = 0, 1
    while high < limit and affordable(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if affordable(middle) else (low, middle)
    return low


def cosine(done: float, whole: float = 1.0) -> float:
    """The factor of a cosine schedule: 1 where `done` is 0, one half in the middle, 0 where it is `whole`."""
    return 0.5 * (1 + math.cos(math.pi * done / whole))
