"""Grids of few values for weights, by FAQD (Li et al. 2023) and what it takes over: where a weight lies and the scale.

A grid is symmetric: scale * code, whole codes from -h to h, h = 1 for 1 and 2 bits and 2^(bits-1) - 1 above, and at 1
bit no 0. One scale for a whole tensor; at 8 bits one for each output channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..models.packed import highest

Scale = Literal["optimal", "released"]
SHARE = 0.7
"""Of the mean magnitude, below which a weight is 0 at 2 bits (Ternary Weight Networks, Li et al. 2016, eq. 6)."""


@dataclass(frozen=True)
class OnGrid:
    """codes: whole numbers of the weight's type and shape. scale: (), or (C, 1, ...) for each output channel."""

    codes: Tensor
    scale: Tensor

    @property
    def values(self) -> Tensor:
        return self.scale * self.codes + 0.0  # no -0.0, which a code does not know


def snap(weight: Tensor, bits: int, scale: Scale = "optimal") -> OnGrid:
    """The place of each weight (C, ...) on the grid of 1, 2, 4 or 8 bits. scale: at 2 bits that of the least squared
    error, or the one of the released code, which divides by all weights and not by those that are kept."""
    if bits == 1:
        return _sign(weight)
    if bits == 2:
        return _ternary(weight, scale)
    return _sixteenths(weight) if bits == 4 else _rounded(weight)


def _sign(weight: Tensor) -> OnGrid:
    """sign(w) * mean |w|. What was pruned stays 0, and is not counted in the mean."""
    codes = weight.sign()
    return OnGrid(codes, _mean(weight.abs(), codes.count_nonzero()))


def _ternary(weight: Tensor, scale: Scale) -> OnGrid:
    """sign(w) where |w| is at least SHARE of its mean, else 0."""
    sizes = weight.abs()
    kept = (sizes >= SHARE * sizes.mean()).to(weight.dtype)
    count = kept.count_nonzero() if scale == "optimal" else torch.tensor(weight.numel(), device=weight.device)
    return OnGrid(weight.sign() * kept, _mean(sizes * kept, count))


def _sixteenths(weight: Tensor) -> OnGrid:
    """Places by delta = max |w| / 15: 0 up to delta, j in ((2j-1) delta, (2j+1) delta], up to 7; then the scale of the
    least squared error for these places."""
    sizes = weight.abs()
    delta = (sizes.max() / 15).clamp_min(torch.finfo(weight.dtype).tiny)
    places = ((sizes / delta - 1) / 2).ceil().clamp(0, highest(4))
    scale = (sizes * places).sum() / places.square().sum().clamp_min(1)
    return OnGrid(weight.sign() * places, scale)


def _rounded(weight: Tensor) -> OnGrid:
    """The nearest of 255 values up to the largest magnitude of each output channel.

    Deviation: the paper stops at 4 bits. One scale a channel is what integer kernels of 8 bits take.
    """
    sizes = weight.detach().flatten(1).abs().amax(1)
    scale = (sizes / highest(8)).view(-1, *[1] * (weight.ndim - 1))
    codes = (weight / scale.clamp_min(torch.finfo(weight.dtype).tiny)).round().clamp(-highest(8), highest(8))
    return OnGrid(codes, scale)


def _mean(values: Tensor, count: Tensor) -> Tensor:
    return values.sum() / count.clamp_min(1)
