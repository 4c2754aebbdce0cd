"""What takes long before a run begins says that it is at work."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from ..process_group import is_first_process
from .monitor import announce

PATIENCE = 3.0
"""Seconds without a word."""


@contextlib.contextmanager
def long_step(what: str) -> Iterator[None]:
    """Prints `what`, and for how long it has been going on, every PATIENCE seconds; nothing of a step that is quick."""
    done, start = threading.Event(), time.perf_counter()

    def speak() -> None:
        while not done.wait(PATIENCE):
            announce(f"{what}: {time.perf_counter() - start:.0f} s")

    speaker = threading.Thread(target=speak, daemon=True)
    if is_first_process():
        speaker.start()
    try:
        yield
    finally:
        done.set()
        if speaker.ident is not None:
            speaker.join()
