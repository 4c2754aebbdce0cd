"""A random part of each image at full size, drawn from a stream, with gradients to the image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

ASPECT = (3 / 4, 4 / 3)
"""The lowest and highest width over height of the part, relative to the image's own (as torchvision and kornia)."""


def random_resized_crop(images: Tensor, scale: tuple[float, float], generator: torch.Generator) -> Tensor:
    """images (B, C, H, W): of each a part of `scale` (lowest, highest) of its area, stretched to (H, W), bilinear.

    A resize along an axis is a product with a matrix, so this is two batched products: exact gradients, the same bits
    on every run, and no scattered additions as in the backward of `grid_sample`.
    Deviation: parts lie between pixels, and one that would not fit is cut to the image, not drawn again.
    """
    count, _, height, width = images.shape
    area = between(scale, count, generator)
    aspect = between((math.log(ASPECT[0]), math.log(ASPECT[1])), count, generator).exp()
    places = torch.rand(2, count, generator=generator)
    rows = _resize((area / aspect).sqrt(), places[0], height)
    columns = _resize((area * aspect).sqrt(), places[1], width)
    return rows.to(images)[:, None] @ images @ columns.to(images)[:, None].mT


def between(limits: tuple[float, float], count: int, generator: torch.Generator) -> Tensor:
    """(count,) drawn evenly from the lowest to the highest."""
    low, high = limits
    return low + (high - low) * torch.rand(count, generator=generator)


def _resize(share: Tensor, place: Tensor, size: int) -> Tensor:
    """(B, size, size): row i holds the weights by which output i is mixed from the inputs.

    share (B,) of the axis that is seen, place (B,) 0..1 from its first to its last position.
    """
    length = (share.clamp(max=1.0) * size).clamp(min=1.0)[:, None]
    first = place[:, None] * (size - length)
    source = first + (torch.arange(size) + 0.5) * length / size - 0.5
    distance = source.clamp(0, size - 1)[:, :, None] - torch.arange(size)
    return (1 - distance.abs()).clamp_min(0)
