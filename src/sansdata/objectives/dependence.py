"""How much a representation says of a group: 0 where it says nothing. N samples, Z dimensions, G groups.

`distribution_covariance` is the penalty of FairDisCo (Liu et al. 2022), which Fair4Free's teacher has; `distance
correlation` (Szekely et al. 2007) and `hsic` (Gretton et al. 2005) are free of scale, and do not vanish as Z grows.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .distributions import squared_distances

TINY = 1e-12


def distribution_covariance(mean: Tensor, logvar: Tensor, groups: Tensor) -> Tensor:
    """Scalar: sum over the groups a of p(a)^2 times the integral of (p(z|a) - p(z))^2, at least 0 but for rounding.

    mean, logvar (N, Z): of the Gaussian of each sample; groups (N,) int64. A group that is absent or fills the batch
    adds nothing. The overlaps of two Gaussians are made in log space and scaled by the largest, so that many dimensions
    or narrow Gaussians neither vanish nor overflow before they are compared.
    """
    variance = logvar.exp()
    both = variance[:, None] + variance[None]
    logs = (-0.5 * ((2 * math.pi * both).log() + (mean[:, None] - mean[None]).square() / both)).sum(2)
    top = logs.max().detach()
    overlap = (logs - top).exp()
    members = torch.nn.functional.one_hot(groups, int(groups.max()) + 1).to(overlap.dtype)  # (N, G)
    sizes, count = members.sum(0), len(groups)
    inner = sizes.clamp_min(1)
    within = ((overlap @ members) * members).sum(0) / inner**2
    across = overlap.mean(1) @ members / inner
    terms = (sizes / count) ** 2 * (overlap.mean() + within - 2 * across)
    counted = (sizes > 0) & (sizes < count)
    return torch.where(counted, terms, torch.zeros_like(terms)).sum() * top.exp()


def distance_correlation(values: Tensor, groups: Tensor) -> Tensor:
    """Scalar in 0..1 between values (N, Z) and groups (N,) int64, two of which are 1 apart; 0 where one is constant."""
    one = _centred(_distances(values))
    other = _centred((groups[:, None] != groups[None]).to(values.dtype))
    covariance = (one * other).mean()
    spread = (one.square().mean() * other.square().mean()).clamp_min(TINY**2).sqrt()
    return (covariance.clamp_min(0) / spread + TINY).sqrt()


def hsic(values: Tensor, groups: Tensor) -> Tensor:
    """Scalar, at least 0: the Hilbert-Schmidt independence criterion, biased, over that of each with itself.

    values (N, Z) under a Gaussian kernel as wide as their median distance, groups (N,) int64 under that of equality.
    """
    squared = _distances(values).square()
    width = squared.detach().median().clamp_min(TINY)
    one = _centred((-squared / width).exp())
    other = _centred((groups[:, None] == groups[None]).to(values.dtype))
    spread = (one.square().mean() * other.square().mean()).clamp_min(TINY**2).sqrt()
    return (one * other).mean() / spread


def _distances(values: Tensor) -> Tensor:
    """(N, N) Euclidean; its gradient is finite where two samples are one."""
    return (squared_distances(values, values) + TINY).sqrt()


def _centred(square: Tensor) -> Tensor:
    """Less the means of its rows and columns, plus that of the whole."""
    return square - square.mean(0, keepdim=True) - square.mean(1, keepdim=True) + square.mean()


DEPENDENCE: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "distribution-cov": distribution_covariance,
    "dcor": lambda mean, logvar, groups: distance_correlation(mean, groups),
    "hsic": lambda mean, logvar, groups: hsic(mean, groups),
}
"""Name -> (mean (N, Z), logvar (N, Z), groups (N,)) -> scalar."""
