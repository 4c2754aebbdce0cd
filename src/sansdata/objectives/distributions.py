"""How far two sets of vectors are apart as distributions: scalars, 0 for two draws of one distribution up to chance.

A loss sample by sample between vectors that were drawn independently has the mean as its best answer; these do not.
x (N, Z) and y (M, Z) are never compared row by row.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

BANDWIDTHS = (0.5, 2.0, 8.0, 32.0)
"""Of the Gaussian kernels whose sum `mmd` uses, exp(-d^2 / 2g): those of Fair4Free's card."""


def mmd(x: Tensor, y: Tensor, bandwidths: Sequence[float] = BANDWIDTHS) -> Tensor:
    """The squared maximum mean discrepancy (Gretton et al. 2012), unbiased: below 0 by chance."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        squared = squared_distances(a, b)
        return torch.stack([(-squared / (2 * width)).exp() for width in bandwidths]).sum(0)

    return _off_diagonal(kernel(x, x)) + _off_diagonal(kernel(y, y)) - 2 * kernel(x, y).mean()


def energy_distance(x: Tensor, y: Tensor) -> Tensor:
    """Twice the mean distance across less those within (Szekely & Rizzo 2013), unbiased: below 0 by chance."""
    across, one, other = (squared_distances(a, b).clamp_min(1e-12).sqrt() for a, b in ((x, y), (x, x), (y, y)))
    return 2 * across.mean() - _off_diagonal(one) - _off_diagonal(other)


def sliced_w2(x: Tensor, y: Tensor, directions: Tensor) -> Tensor:
    """The squared 2-Wasserstein distance along unit vectors (D, Z), their mean (Rabin et al. 2011). N must be M."""
    projected = [(points @ directions.T).sort(0).values for points in (x, y)]
    return (projected[0] - projected[1]).square().mean()


def unit_vectors(count: int, size: int, stream: Generator) -> Tensor:
    """(count, size) directions, spread evenly over the sphere."""
    return torch.nn.functional.normalize(torch.randn(count, size, generator=stream), dim=1)


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """(N, M) between rows (N, Z) and (M, Z), at least 0."""
    return (a.square().sum(1)[:, None] + b.square().sum(1)[None] - 2 * a @ b.T).clamp_min(0)


def _off_diagonal(square: Tensor) -> Tensor:
    """The mean of all but the diagonal."""
    count = len(square)
    return (square.sum() - square.diagonal().sum()) / (count * (count - 1))
