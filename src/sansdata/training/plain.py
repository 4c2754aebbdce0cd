"""The ordinary update: one forward, one backward, one step."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from ..contracts import Batch, Forward, Losses, Progress, Stateful
from ..method import Context


class Plain:
    """Steps `optimizer` on the loss at the student's present weights."""

    def __init__(
        self, context: Context, forward: Forward, optimizer: torch.optim.Optimizer, clip: float | None
    ) -> None:
        self.context, self.forward, self.optimizer, self.clip = context, forward, optimizer, clip

    def active(self, progress: Progress) -> bool:
        return True

    def step(self, loss: Callable[[Forward, Batch], Losses], batch: Batch) -> Losses:
        losses = loss(self.forward, batch)
        losses.total(batch.weights).backward()
        self.context.runtime.step(self.optimizer, self.clip)
        return losses

    def findings(self) -> list[str]:
        return []

    def state(self) -> Mapping[str, Stateful]:
        return {}
