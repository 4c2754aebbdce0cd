"""Small sums that several rooms do: whole numbers that are rounded up, and the shape of a schedule."""

from __future__ import annotations

import math


def ceil_div(count: int, size: int) -> int:
    """How many groups of `size` hold `count` things: the quotient, rounded up. Raises ZeroDivisionError for size 0."""
    return -(-count // size)


def cosine(done: float, whole: float = 1.0) -> float:
    """The factor of a cosine schedule: 1 where `done` is 0, one half in the middle, 0 where it is `whole`."""
    return 0.5 * (1 + math.cos(math.pi * done / whole))
