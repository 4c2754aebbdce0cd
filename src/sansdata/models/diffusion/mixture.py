"""A mixture of Gaussians and its exact denoiser: what a method does to it can be compared with what is known."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .denoiser import Denoiser
from .schedules import Cosine, Schedule


class Mixture(Denoiser):
    """The exact denoiser of a mixture of round Gaussians in D numbers: E[x_0 | x_t], no network at all. With labels
    each component is asked for by its own; one more stands for none of them.

    What a method does to it can be compared with what is known: its data are drawn by `data`.
    """

    def __init__(
        self, centres: Tensor, deviation: float, weights: Tensor, schedule: Schedule | None = None, labels: bool = False
    ) -> None:
        """centres: (K, D). weights: (K,), of any sum."""
        known, none = (len(centres), len(centres)) if labels else (0, None)
        super().__init__(nn.Identity(), schedule or Cosine(), "sample", labels=known, null=none)
        self.centres, self.weights = nn.Parameter(centres), nn.Parameter(weights / weights.sum())
        self.spread = nn.Parameter(torch.tensor(deviation, dtype=centres.dtype))

    def _one(self, state: Tensor, time: Tensor, label: Tensor | None) -> Tensor:
        alpha, sigma = self.schedule.alpha(time)[:, None], self.schedule.sigma(time)[:, None]
        alpha, sigma = alpha.to(state.dtype), sigma.to(state.dtype)
        total = alpha**2 * self.spread**2 + sigma**2
        far = (state[:, None] - alpha[:, None] * self.centres).square().sum(2)
        scores = self.weights.log() - far / (2 * total)
        if label is not None and self.labels:
            others = nn.functional.one_hot(label, len(self.centres) + 1)[:, :-1] == 0
            scores = scores.masked_fill(others & (label != self.null)[:, None], -torch.inf)
        towards = alpha[:, None] * self.spread**2 / total[:, None] * (state[:, None] - alpha[:, None] * self.centres)
        return (scores.softmax(1)[:, :, None] * (self.centres + towards)).sum(1)

    def data(self, count: int, generator: torch.Generator) -> Tensor:
        """Samples of the mixture itself, (count, D)."""
        which = torch.multinomial(self.weights.detach(), count, replacement=True, generator=generator)
        noise = torch.randn(count, self.centres.shape[1], generator=generator, dtype=self.centres.dtype)
        return (self.centres[which] + self.spread * noise).detach()


def ring(labels: bool = False) -> Mixture:
    """Eight Gaussians on a circle of radius 2, deviation 0.15, half of them twice as frequent as the others."""
    angles = torch.arange(8) * math.pi / 4
    centres = 2 * torch.stack([angles.cos(), angles.sin()], 1)
    return Mixture(centres, 0.15, torch.tensor([1.0, 1, 1, 1, 2, 2, 2, 2]), labels=labels)
