"""Class embeddings, diffused by noise of several sources (CAE-DFKD, Zhang et al. 2025, "CEND")."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Source = Literal["normal", "uniform", "laplace", "rademacher"]
"""Distributions of mean 0 and variance 1. The paper has several sources; which ones, we could not read."""


def unit_noise(sources: Sequence[Source], chosen: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """(B, size) float32: row i of mean 0 and variance 1 per element, from source number chosen[i].

    chosen (B,) int64 on the CPU, indices into `sources`.
    """
    noise = torch.empty(len(chosen), size)
    for number, source in enumerate(sources):
        rows = (chosen == number).nonzero().flatten()
        noise[rows] = _draw(source, len(rows), size, generator)
    return noise


def _draw(source: Source, count: int, size: int, generator: torch.Generator) -> Tensor:
    if source == "normal":
        return torch.randn(count, size, generator=generator)
    even = torch.rand(count, size, generator=generator)  # 0 <= even < 1
    if source == "uniform":
        return (2 * even - 1) * math.sqrt(3)
    if source == "rademacher":
        return (even < 0.5).float() * 2 - 1
    # Laplace of scale 1/sqrt(2) by its inverse distribution function; the clamp keeps log away from 0.
    centred = even - 0.5
    return -centred.sign() * torch.log1p(-2 * centred.abs().clamp(max=0.5 - 1e-7)) / math.sqrt(2)


def standardised(embeddings: Tensor) -> Tensor:
    """embeddings (K, D) with mean 0 over the classes in each dimension, and 1 as root mean square of all of them.

    Every dimension that tells classes apart gets the same weight; one in which all classes agree becomes 0.
    """
    wide = embeddings.double()
    centred = wide - wide.mean(0)
    spread = centred.square().mean(0).sqrt()
    tells_apart = spread > 1e-6 * spread.max()
    scaled = torch.where(tells_apart, centred / spread.clamp_min(1e-300), 0.0)
    return (scaled / scaled.square().mean().sqrt()).float()


class EmbeddingDiffusion(nn.Module):
    """Labels and noise -> latents of a generator: embedding + magnitude of the source x noise, BatchNorm, linear.

    embeddings (K, D) of root mean square 1, magnitudes (N,) of the N sources in the same unit, latent Z. Where the
    magnitudes are learnt, they are parameters; otherwise constants that are saved with the module.
    """

    embeddings: Tensor
    magnitudes: Tensor

    def __init__(self, embeddings: Tensor, magnitudes: Sequence[float], latent: int, learn_magnitudes: bool) -> None:
        super().__init__()
        size = embeddings.shape[1]
        self.register_buffer("embeddings", embeddings.float())
        values = torch.tensor(list(magnitudes))
        if learn_magnitudes:
            self.magnitudes = nn.Parameter(values)
        else:
            self.register_buffer("magnitudes", values)
        self.norm = nn.BatchNorm1d(size)
        self.linear = nn.Linear(size, latent)

    def forward(self, labels: Tensor, chosen: Tensor, noise: Tensor) -> Tensor:
        """labels (B,), chosen (B,) the number of each row's source, noise (B, D) of unit variance -> (B, Z)."""
        diffused = self.embeddings[labels] + self.magnitudes[chosen][:, None] * noise
        return self.linear(self.norm(diffused))
