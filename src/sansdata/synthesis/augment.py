"""Random views of images, drawn from a stream, with gradients to the image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Augment = Literal["none", "crop", "crop+flip"]
View = Augment | Callable[[Tensor, torch.Generator], Tensor]
"""Or what a method makes of images (B, C, H, W) itself; no gradient is meant to flow through it."""


def augment(images: Tensor, view: View, generator: torch.Generator) -> Tensor:
    """images (B, C, H, W), each shifted by up to an eighth of the width and, for 'crop+flip', mirrored on its own."""
    if callable(view):
        return view(images, generator)
    if view == "none":
        return images
    images = random_crop(images, max(1, round(images.shape[-1] / 8)), generator)
    return random_flip(images, generator) if view == "crop+flip" else images


def random_crop(images: Tensor, pad: int, generator: torch.Generator) -> Tensor:
    """Zero-pads (in unit space: black) by `pad` pixels and crops back, a place of its own per image."""
    count, _, height, width = images.shape
    top = torch.randint(2 * pad + 1, (count, 1), generator=generator)
    left = torch.randint(2 * pad + 1, (count, 1), generator=generator)
    rows = (top + torch.arange(height)).to(images.device)
    columns = (left + torch.arange(width)).to(images.device)
    padded = F.pad(images, (pad, pad, pad, pad))
    return _Window.apply(padded, rows, columns)  # type: ignore[return-value]


class _Window(torch.autograd.Function):
    """padded (B, C, H, W) at rows (B, h) and columns (B, w), each pixel at most once.

    Autograd's own backward of an index adds into place, one element at a time; here nothing can collide.
    """

    @staticmethod
    def forward(ctx: Any, padded: Tensor, rows: Tensor, columns: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(rows, columns)
        ctx.shape = padded.shape
        return _at(padded.permute(0, 2, 3, 1), rows, columns).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        rows, columns = ctx.saved_tensors
        count, channels, height, width = ctx.shape
        result = grad.new_zeros(count, height, width, channels)
        which = torch.arange(count, device=grad.device)[:, None, None]
        result[which, rows[:, :, None], columns[:, None, :]] = grad.permute(0, 2, 3, 1)
        return result.permute(0, 3, 1, 2), None, None


def _at(pixels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    which = torch.arange(len(pixels), device=pixels.device)[:, None, None]
    return pixels[which, rows[:, :, None], columns[:, None, :]]


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
