"""What went wrong that no kind knows of: before the run, and in its pool."""

from __future__ import annotations

from collections.abc import Sequence

from ..decoding.image_pool import ImagePool
from ..figures import Warned
from ..kinds.inputs.brightness import PROBLEM


def before_the_run(texts: Sequence[str]) -> list[Warned]:
    """What preflight found, as warnings."""
    return [
        Warned("wrong mean and std" if text.startswith(PROBLEM) else "before the run", None, text) for text in texts
    ]


def of_pool(pool: ImagePool | None) -> list[Warned]:
    """How many files of the pool had to be left out, where some had."""
    if pool is None or not pool.skipped:
        return []
    text = f"of {pool.files} image files of the pool could not be read; events.log names the first."
    return [Warned("pool files skipped", pool.skipped, text)]
