"""An optimisation that takes several moves: a move stays short however long a batch takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class Chunked:
    """Iterations counted over moves. iterations: of a batch. chunk: the most of them in one move."""

    def __init__(self, iterations: int, chunk: int) -> None:
        self.iterations, self.chunk = iterations, chunk
        self.iteration = 0

    @property
    def in_this_move(self) -> int:
        """Iterations that the present move may still make."""
        return min(self.chunk, self.iterations - self.iteration)

    @property
    def finished(self) -> bool:
        return self.iteration == self.iterations


class InnerLoop(Chunked):
    """A batch under way: the classes it is to show, how far it is, and what had the lowest loss so far."""

    def __init__(self, iterations: int, chunk: int) -> None:
        super().__init__(iterations, chunk)
        self.begin(torch.empty(0, dtype=torch.int64))

    def begin(self, targets: Tensor) -> None:
        """targets (B,) int64."""
        self.targets = targets
        self.iteration, self.lowest = 0, float("inf")
        self.best: dict[str, Tensor] = {}

    def offer(self, loss: float, **results: Tensor) -> None:
        """Ends an iteration; keeps its results where its loss is the lowest yet.

        The first stands also where its loss is nan: the engine names the term once the move is over.
        """
        if loss < self.lowest or self.iteration == 0:
            self.lowest, self.best = loss, {name: value.detach() for name, value in results.items()}
        self.iteration += 1

    def state_dict(self) -> dict[str, Any]:
        return {"targets": self.targets, "iteration": self.iteration, "lowest": self.lowest, "best": self.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.targets, self.iteration = state["targets"], state["iteration"]
        self.lowest, self.best = state["lowest"], dict(state["best"])
