"""Feature affinity (FAQD, Li et al. 2023): which pixels of a feature map are alike, in the student as in the teacher.

Maps are (B, C, H, W), of one height and width; channels need not match. F is a map as (C, N), N = H * W, each column
divided by its norm; the affinity F^T F (N, N) holds the cosine of every pair of pixels.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Order = Literal[1, 2]
EPSILON = 1e-5
"""Beside the norm of a pixel, so that a dead one has cosine 0 and no nan."""


def columns_of(maps: Tensor) -> Tensor:
    """(B, C, N), columns of norm 1, or 0 where a pixel is 0."""
    flat = maps.float().flatten(2)
    # The norm of a dead pixel has no slope; a tiny one inside the root gives it one of 0.
    return flat / ((flat.square().sum(1, keepdim=True) + EPSILON**4).sqrt() + EPSILON)


def affinity(student: Tensor, teacher: Tensor, order: Order = 1) -> Tensor:
    """(B,) how far the affinities of both maps are apart: the mean over pairs of |difference|, or for order 2 its
    Frobenius norm over N. Takes memory for N^2 numbers an image."""
    apart = _affinity(columns_of(student)) - _affinity(columns_of(teacher))
    return _distance(apart.flatten(1), order) / (apart.shape[1] if order == 2 else apart[0].numel())


def fast_affinity(student: Tensor, teacher: Tensor, probes: Tensor, order: Order = 1) -> Tensor:
    """(B,) the same seen through probes (N, k) of N(0, 1), in memory for k * N numbers an image.

    For order 2 the square is an unbiased estimate of that of `affinity`, with a relative spread of at most sqrt(2 / k).
    For order 1 it is another quantity: of mean sqrt(2 / pi) times the sum of the norms of the rows over N^2.
    """
    probed = [columns.transpose(1, 2) @ (columns @ probes) for columns in (columns_of(student), columns_of(teacher))]
    apart, (count, k) = (probed[0] - probed[1]).flatten(1), probes.shape
    if order == 1:
        return _distance(apart, 1) / (k * count**2)
    return _distance(apart, 2) / (k**0.5 * count)


def _affinity(columns: Tensor) -> Tensor:
    return columns.transpose(1, 2) @ columns


def _distance(apart: Tensor, order: Order) -> Tensor:
    """(B,) the sum of magnitudes, or the norm, which has slope 0 where all is equal."""
    if order == 1:
        return apart.abs().sum(1)
    return (apart.square().sum(1) + torch.finfo(apart.dtype).tiny).sqrt()


def over_batch(distances: Tensor, order: Order) -> Tensor:
    """The released reduction: the sum over the batch, a scalar, or for order 2 the norm over it."""
    return distances.sum() if order == 1 else (distances.square().sum() + torch.finfo(distances.dtype).tiny).sqrt()
