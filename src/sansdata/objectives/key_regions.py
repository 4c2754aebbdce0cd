"""Where in an image a classifier sees a class, held against where it should lie."""

from __future__ import annotations

import torch
from torch import Tensor

EPS = 1e-6


def class_activation(maps: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """(B, h, w): what each position of maps (B, K, h, w) adds to the logit of targets (B,) int64, by the head's weight
    (C, K). Its mean over the positions, and the head's bias, are the logit (CAM, Zhou et al., CVPR 2016)."""
    return torch.einsum("bkhw,bk->bhw", maps.float(), weight.float()[targets])


def off_key_region(activation: Tensor, region: Tensor) -> Tensor:
    """(B,) mean squared difference of activation (B, h, w), its negative values 0, and region (B, h, w), not negative;
    of both, the largest value of an image counts as 1."""
    return (_to_one(activation.relu()) - _to_one(region.float())).square().mean((1, 2))


def _to_one(maps: Tensor) -> Tensor:
    return maps / (maps.amax((1, 2), keepdim=True) + EPS)


def bell(shape: tuple[int, int], spread: float, centres: Tensor) -> Tensor:
    """(B, H, W) normal densities without their factor around centres (B, 2), which are (row, column) as shares of the
    sides; spread: one standard deviation, as a share of the width. An infinite one is flat."""
    height, width = shape
    rows = (torch.arange(height, device=centres.device) + 0.5 - centres[:, :1] * height)[:, :, None]
    columns = (torch.arange(width, device=centres.device) + 0.5 - centres[:, 1:] * width)[:, None, :]
    return (-(rows.square() + columns.square()) / (2 * (spread * width) ** 2)).exp()
