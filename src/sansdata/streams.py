"""Randomness by name: every draw of a run is decided by its seed, who draws, in which move, on which rank."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

import torch


class Streams:
    """Randomness by name, keyed by (seed, stream, move, rank): nothing to save, nothing shared with the caller."""

    def __init__(self, seed: int, rank: int = 0) -> None:
        self.seed, self.rank, self.move = seed, rank, -1
        self._open: dict[tuple[str, bool], torch.Generator] = {}

    def begin(self, move: int) -> None:
        """Opens the streams of a move; -1 is everything before the first."""
        self.move = move
        self._open.clear()

    def __call__(self, name: str, shared: bool = False) -> torch.Generator:
        """The CPU generator of this stream in this move; `shared` gives every rank the same numbers."""
        key = (name, shared)
        if key not in self._open:
            self._open[key] = self.afresh(name, shared)
        return self._open[key]

    def afresh(self, name: str, shared: bool = False) -> torch.Generator:
        """A generator at the beginning of this stream, for what must be the same whenever a move asks for it."""
        return torch.Generator().manual_seed(self._number(name, shared))

    @contextlib.contextmanager
    def as_global(self, name: str, shared: bool = False) -> Iterator[None]:
        """For code that only knows the global generator (initialisers, dropout): seeds it, and puts it back after."""
        with torch.random.fork_rng(devices=_cuda_devices()):
            number = self._number(name, shared)
            torch.default_generator.manual_seed(number)
            if _cuda_devices():
                torch.cuda.manual_seed(number)
            yield

    def _number(self, name: str, shared: bool) -> int:
        key = f"{self.seed}/{name}/{self.move}/{'all' if shared else self.rank}"
        return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") >> 1


def _cuda_devices() -> list[int]:
    return [torch.cuda.current_device()] if torch.cuda.is_available() and torch.cuda.is_initialized() else []
