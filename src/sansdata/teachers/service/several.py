"""Several questions under way at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

T = TypeVar("T")


def each_once(ask: Callable[[T], None], questions: Iterable[T], at_once: int) -> None:
    """Calls `ask` with each of them. Raises the first fault that comes, after which none is begun."""
    several, stopped = list(questions), threading.Event()
    if len(several) == 1:  # in this thread, whose connection is open already
        ask(several[0])
        return

    def ask_unless_stopped(question: T) -> None:
        if stopped.is_set():
            return
        try:
            ask(question)
        except BaseException:
            stopped.set()
            raise

    with ThreadPoolExecutor(at_once) as pool:
        try:
            for done in as_completed([pool.submit(ask_unless_stopped, question) for question in several]):
                done.result()
        finally:
            stopped.set()
