"""What an owner writes into the file about the latents of real rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .base import Moments

RIDGE = 1e-5
"""Added to the variances of a component, so that it has a factor."""


def moments_of(latents: Tensor, components: int, seed: int) -> Moments:
    """A mixture of Gaussians with whole covariances, fitted to latents (N, Z). No row is in it, but it is computed from
    rows, and no noise for differential privacy is added."""
    from sklearn.mixture import GaussianMixture

    mixture: Any = GaussianMixture(components, random_state=seed, reg_covar=RIDGE, max_iter=200)
    mixture.fit(latents.double().numpy())
    factors = torch.linalg.cholesky(torch.from_numpy(mixture.covariances_))
    return Moments(
        torch.from_numpy(mixture.weights_).float(), torch.from_numpy(mixture.means_).float(), factors.float()
    )  # fmt: skip
