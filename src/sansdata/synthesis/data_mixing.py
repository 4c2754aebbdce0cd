"""Two images in one: another image of the batch, made small, pasted into a box (data mixing, after MixMix).

Unlike CutMix (Yun et al. 2019) the pasted image is shrunk whole, not cropped. Gradients flow to both images.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .resized_crop import between


@dataclass(frozen=True)
class Mixed:
    """images (B, C, H, W); partner (B,) int64, the image that was pasted into each; share (B,) of its area, 0..1."""

    images: Tensor
    partner: Tensor
    share: Tensor


def mix_pairs(images: Tensor, area: tuple[float, float], generator: torch.Generator) -> Mixed:
    """Pastes into each of images (B, C, H, W) another one, the partners being a permutation of the batch.

    area: the lowest and highest share of an image that the box covers, 0..1, drawn evenly for each image; the box has
    the image's proportions, in whole pixels, and any place inside it. A box of less than a pixel is no box.
    Like in `random_resized_crop`, resizing (bilinear, between pixel centres) is two batched products.
    """
    count, _, height, width = images.shape
    partner = torch.randperm(count, generator=generator).to(images.device)
    side = between(area, count, generator).sqrt()
    places = torch.rand(2, count, generator=generator)
    rows, columns = _into_box(side, places[0], height), _into_box(side, places[1], width)
    inside = rows.sum(2)[:, None, :, None] * columns.sum(2)[:, None, None, :]  # each row of weights sums to 0 or 1
    share = inside.mean((1, 2, 3)).to(images)
    pasted = rows.to(images)[:, None] @ images[partner] @ columns.to(images)[:, None].mT
    return Mixed((1 - inside.round().to(images)) * images + pasted, partner, share)


def _into_box(side: Tensor, place: Tensor, size: int) -> Tensor:
    """(B, size, size): row i holds the weights by which position i of a box is mixed from the whole axis; zeros
    outside the box. side (B,): length over the axis; place (B,): 0..1 from its first to its last position."""
    length = (side * size).round()
    first = (place * (size - length + 1)).floor().clamp(max=size - length)
    position = torch.arange(size, dtype=torch.float64) - first[:, None]
    within = (position >= 0) & (position < length[:, None])
    source = (position + 0.5) * size / length.clamp_min(1)[:, None] - 0.5
    distance = source.clamp(0, size - 1)[:, :, None] - torch.arange(size)
    return (1 - distance.abs()).clamp_min(0) * within[:, :, None]
