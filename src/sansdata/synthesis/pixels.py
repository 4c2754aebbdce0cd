"""Images made by optimising their pixels, a batch at a time, over as many moves as it takes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..arithmetic import ceil_div
from ..contracts import Losses
from .inner_loop import Chunked
from .rounds import PooledRounds, Round


class Inversion(Chunked):
    """One batch under way: pixels, their optimiser, how far it is, and the best iterate so far.

    It says nothing about the space of the pixels; the method that owns it does.
    """

    def __init__(self, pixels: Tensor, targets: Tensor, lr: float, iterations: int, chunk: int) -> None:
        """pixels, targets: of the right shape and device, until the first batch begins."""
        super().__init__(iterations, chunk)
        self.lr = lr
        self.begin(pixels, targets)

    def begin(self, pixels: Tensor, targets: Tensor) -> None:
        """pixels (B, C, H, W); targets what they are to become: labels (B,) or probabilities (B, K)."""
        self.pixels, self.targets = nn.Parameter(pixels), targets
        self.optimizer = torch.optim.Adam([self.pixels], lr=self.lr)
        self.iteration, self.best_loss, self.best = 0, float("inf"), pixels.clone()

    def offer(self, loss: float) -> None:
        """Keeps a copy of the pixels on which `loss` was taken where it is the lowest yet."""
        if loss < self.best_loss:
            self.best_loss, self.best = loss, self.pixels.detach().clone()

    def step(self, loss: Tensor) -> None:
        """One iteration on a scalar loss of the pixels.

        Not by runtime.step: every rank inverts pixels of its own, there is nothing to average.
        """
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.iteration += 1

    @torch.no_grad()
    def clip(self, low: Tensor, high: Tensor) -> None:
        """Pixels below `low` and above `high`, (1, C, 1, 1), are put there (DeepInversion's ImageNet code)."""
        self.pixels.copy_(torch.minimum(torch.maximum(self.pixels, low), high))

    @torch.no_grad()
    def rescale(self) -> None:
        """The whole batch to 0..1 by its one lowest and one highest pixel (ZSKD, released)."""
        low, high = self.pixels.aminmax()
        self.pixels.sub_(low).div_((high - low).clamp_min(1e-12))

    def state_dict(self) -> dict[str, Any]:
        return {
            "pixels": self.pixels.detach(), "targets": self.targets, "optimizer": self.optimizer.state_dict(),
            "iteration": self.iteration, "best_loss": self.best_loss, "best": self.best,
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.begin(state["pixels"], state["targets"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.iteration, self.best_loss, self.best = state["iteration"], state["best_loss"], state["best"]


class PixelRounds(PooledRounds):
    """Makes a batch over several moves, keeps it, teaches for a while from all that was kept, and begins again.

    A method says how a batch begins, what an iteration is, and which images come of it.
    """

    inversion: Inversion

    @classmethod
    def round_of(cls, config: Any) -> Round:
        return Round(config.steps_per_batch, moves=ceil_div(config.iterations, config.chunk))

    @classmethod
    def rehearsal(cls, config: Any) -> Any:
        return config.model_copy(update={"iterations": min(config.chunk, config.iterations), "steps_per_batch": 2})

    def acquire(self) -> Losses:
        inversion, losses = self.inversion, Losses()
        if inversion.iteration == 0:
            self.begin_batch()
        for _ in range(inversion.in_this_move):
            losses = self.iterate()
        if inversion.finished:
            self.keep(*self.finished_batch())
            inversion.iteration = 0
            self.schedule.begin_steps()
        return losses

    @abstractmethod
    def begin_batch(self) -> None:
        """Gives the inversion new pixels and targets."""

    @abstractmethod
    def iterate(self) -> Losses:
        """One step of the pixels, and the losses before it."""

    @abstractmethod
    def finished_batch(self) -> tuple[Tensor, Tensor]:
        """What is kept at the end: images (B, C, H, W) in unit space and their classes (B,)."""
