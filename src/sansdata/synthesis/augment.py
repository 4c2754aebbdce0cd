"""Random views of images, drawn from a stream, with gradients to the image."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Augment = Literal["none", "crop", "crop+flip"]


def augment(images: Tensor, kind: Augment, generator: torch.Generator) -> Tensor:
    """images (B, C, H, W), each shifted and, for 'crop+flip', mirrored on its own."""
    if kind == "none":
        return images
    images = random_crop(images, max(1, round(images.shape[-1] / 8)), generator)
    return random_flip(images, generator) if kind == "crop+flip" else images


def random_crop(images: Tensor, pad: int, generator: torch.Generator) -> Tensor:
    """Zero-pads (in unit space: black) by `pad` pixels and crops back, a place of its own per image."""
    count, _, height, width = images.shape
    top = torch.randint(2 * pad + 1, (count, 1), generator=generator)
    left = torch.randint(2 * pad + 1, (count, 1), generator=generator)
    rows = (top + torch.arange(height)).to(images.device)
    columns = (left + torch.arange(width)).to(images.device)
    padded = F.pad(images, (pad, pad, pad, pad)).permute(0, 2, 3, 1)  # channels last: one gather moves whole pixels
    which = torch.arange(count, device=images.device)[:, None, None]
    return padded[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrors each image left to right with probability one half."""
    mirrored = (torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5).to(images.device)
    return torch.where(mirrored, images.flip(-1), images)


def jitter(images: Tensor, reach: int, generator: torch.Generator) -> Tensor:
    """Rolls the whole batch by one random offset of up to `reach` pixels each way (DeepInversion)."""
    if reach == 0:
        return images
    dy, dx = torch.randint(-reach, reach + 1, (2,), generator=generator).tolist()
    return images.roll((dy, dx), (2, 3))
