"""Denoisers that need no file, by specs like `priors:gaussian`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sansdata.models.diffusion.denoiser import Denoiser
from sansdata.models.diffusion.schedules import Cosine, beside


class Gaussian(Denoiser):
    """The exact denoiser of pixels drawn each by itself from N(mean, deviation^2): E[x_0 | x_t]."""

    def __init__(self, mean: float = 0.1, deviation: float = 0.6) -> None:
        super().__init__(nn.Identity(), Cosine(), "sample")
        self.mean, self.spread = nn.Parameter(torch.tensor(mean)), nn.Parameter(torch.tensor(deviation))

    def clean(self, state: Tensor, time: Tensor, label: Tensor | None = None, guidance: Tensor | None = None) -> Tensor:
        alpha, sigma = beside(self.schedule.alpha(time), state), beside(self.schedule.sigma(time), state)
        gain = alpha * self.spread**2 / (alpha**2 * self.spread**2 + sigma**2)
        return self.mean + gain * (state - alpha * self.mean)


def gaussian() -> Denoiser:
    return Gaussian()


def other_gaussian() -> Denoiser:
    return Gaussian(mean=-0.2)
