"""Images made by optimising their pixels, a batch at a time, over as many moves as it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Inversion:
    """One batch under way: pixels, their optimiser, how far it is, and the best iterate so far.

    It says nothing about the space of the pixels; the method that owns it does.
    """

    def __init__(self, pixels: Tensor, targets: Tensor, lr: float) -> None:
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
