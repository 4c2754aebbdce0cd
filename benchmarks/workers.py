"""A process for each side: what one sets for its whole process (memory, threads) must not help or hurt the other."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

Side = Mapping[str, Callable[[], None]]
"""Phase -> one run of it."""


class Worker:
    """A spawned process that holds a side. It computes only while `ask` waits for its answer."""

    def __init__(self, make: Callable[..., Side], *args: Any, threads: int) -> None:
        """make(*args) gives the side, in the new process; both must be importable there."""
        self.pipe, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self.process = context.Process(target=_serve, args=(theirs, threads, make, args), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, question: Callable[..., Any], *args: Any) -> Any:
        """question(side, *args), answered there. Raises EOFError where the process has died."""
        self.pipe.send((question, args))
        return self.pipe.recv()

    def close(self) -> None:
        self.pipe.close()
        self.process.join()


def _serve(pipe: Connection, threads: int, make: Callable[..., Side], args: tuple[Any, ...]) -> None:
    import torch

    torch.set_num_threads(threads)
    side = make(*args)
    while True:
        try:
            question, rest = pipe.recv()
        except EOFError:
            return
        pipe.send(question(side, *rest))
