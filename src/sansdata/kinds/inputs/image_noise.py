"""Images from randomness alone: the floors every method must beat. Each gives (B, C, H, W) in unit space."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def gaussian(count: int, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Standard normal pixels; not unit space but what a model takes: denormalise it with the task's mean and std."""
    return torch.randn(count, *shape, generator=generator)


def fractal(count: int, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Noise with amplitude 1 / frequency^a, a drawn from 0.5..2 per image, brightness and contrast at random.

    Natural images have a near 1 (Field 1987); Baradad et al. 2021 distil from such noise.
    """
    channels, height, width = shape
    frequency = torch.sqrt(torch.fft.fftfreq(height)[:, None] ** 2 + torch.fft.rfftfreq(width)[None, :] ** 2)
    frequency[0, 0] = 1.0
    slope = 0.5 + 1.5 * torch.rand(count, 1, 1, 1, generator=generator)
    white = torch.fft.rfft2(torch.randn(count, channels, height, width, generator=generator))
    images = torch.fft.irfft2(white * frequency ** (-slope), s=(height, width))
    return _random_exposure(images, generator)


def dead_leaves(count: int, shape: Sequence[int], generator: torch.Generator, leaves: int = 40) -> Tensor:
    """Discs that cover one another, radii with density ~ r^-3 (Lee, Mumford & Huang 2001), even colours in 0..1."""
    channels, height, width = shape
    smallest, largest = 0.04 * max(height, width), 0.5 * max(height, width)
    y = torch.arange(height).view(1, height, 1) + 0.5
    x = torch.arange(width).view(1, 1, width) + 0.5
    images = torch.rand(count, channels, 1, 1, generator=generator).expand(count, *shape).clone()
    for _ in range(leaves):
        u = torch.rand(3, count, 1, 1, generator=generator)
        radius = (smallest**-2 + u[0] * (largest**-2 - smallest**-2)) ** -0.5
        inside = (y - u[1] * height) ** 2 + (x - u[2] * width) ** 2 < radius**2  # (B, H, W)
        colour = torch.rand(count, channels, 1, 1, generator=generator)
        images = torch.where(inside[:, None], colour, images)
    return images


def _random_exposure(images: Tensor, generator: torch.Generator) -> Tensor:
    count, channels = images.shape[:2]
    centre = 0.2 + 0.6 * torch.rand(count, channels, 1, 1, generator=generator)
    spread = 0.1 + 0.25 * torch.rand(count, 1, 1, 1, generator=generator)
    flat = images.flatten(2)
    images = (images - flat.mean(2)[..., None, None]) / flat.std(2).clamp_min(1e-6)[..., None, None]
    return (centre + spread * images).clamp(0, 1)
