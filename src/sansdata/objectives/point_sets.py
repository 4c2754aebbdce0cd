"""Distances between two sets of points that nobody has paired."""

from __future__ import annotations

import torch
from torch import Tensor

DIRECTIONS = 128
SEED = 26_000
"""Of the directions: the same for all who are compared."""


def sliced_wasserstein(one: Tensor, other: Tensor, directions: int = DIRECTIONS) -> Tensor:
    """The sliced 2-Wasserstein distance of (N, D) and (M, D): the root of the mean, over directions of unit length, of
    the squared distance between the quantiles of both projections. In the units of the points."""
    generator = torch.Generator().manual_seed(SEED)
    towards = torch.randn(one.shape[1], directions, generator=generator, dtype=torch.float64)
    towards = (towards / towards.norm(dim=0)).to(one)
    first, second = ((points @ towards).sort(0).values for points in (one, other.to(one)))
    if len(first) != len(second):
        places = torch.linspace(0, 1, max(len(first), len(second)), dtype=one.dtype, device=one.device)
        first, second = (_quantiles(points, places) for points in (first, second))
    return (first - second).square().mean().sqrt()


def _quantiles(ordered: Tensor, places: Tensor) -> Tensor:
    """(Q, L) of (N, L), each column in order, by linear interpolation at `places` in 0..1."""
    exact = places * (len(ordered) - 1)
    below = exact.floor().long()
    above = (below + 1).clamp_max(len(ordered) - 1)
    share = (exact - below)[:, None]
    return ordered[below] * (1 - share) + ordered[above] * share
