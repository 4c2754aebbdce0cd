"""Where a run that computes in bf16 must not: between answers whose difference is smaller than bf16 can say.

Who takes differences stands below whoever runs networks, and cannot tell them; so what holds is kept here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_FULL: ContextVar[bool] = ContextVar("full_precision", default=False)


@contextmanager
def full_precision() -> Iterator[None]:
    """Meanwhile every network is run in float32, whatever the precision of the run."""
    before = _FULL.set(True)
    try:
        yield
    finally:
        _FULL.reset(before)


def is_full_precision() -> bool:
    return _FULL.get()
