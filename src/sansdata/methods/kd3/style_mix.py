"""Images in one another's brightness and contrast: KD3's MixDistribution, MixStyle (Zhou et al. 2021) on pixels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

EPS = 1e-6
"""Added to the variance of a channel, so that an even image has a deviation to divide by."""


def mixed_styles(images: Tensor, beta: float, generator: torch.Generator) -> Tensor:
    """images (B, C, H, W), each with mean and deviation of every channel moved towards another image's of the batch.

    The share that an image keeps is drawn from Beta(beta, beta): small values of beta keep or swap almost all.
    """
    keep = beta_draws(len(images), beta, generator).to(images).view(-1, 1, 1, 1)
    partner = torch.randperm(len(images), generator=generator).to(images.device)
    return restyled(images, keep, partner)


def restyled(images: Tensor, keep: Tensor, partner: Tensor) -> Tensor:
    """images (B, C, H, W) with the style keep * own + (1 - keep) * that of images[partner]; keep (B, 1, 1, 1)."""
    mean = images.mean((2, 3), keepdim=True)
    spread = (images.var((2, 3), keepdim=True, correction=0) + EPS).sqrt()
    plain = (images - mean) / spread
    return plain * (keep * spread + (1 - keep) * spread[partner]) + keep * mean + (1 - keep) * mean[partner]


def beta_draws(count: int, beta: float, generator: torch.Generator) -> Tensor:
    """(count,) draws from Beta(beta, beta). torch has no such draw from a given generator, numpy has."""
    seed = int(torch.randint(2**31, (), generator=generator))
    return torch.from_numpy(np.random.RandomState(seed).beta(beta, beta, count)).float()
