"""Priors on the pixels themselves. `images` (B, C, H, W) in the space the weight was tuned for."""

from __future__ import annotations

import torch
from torch import Tensor


def total_variation(images: Tensor) -> Tensor:
    """Sum of the L2 norms, over the whole batch, of differences to the right, below and on both diagonals.

    A scalar (DeepInversion's released prior `tv_l2`).
    """
    right = images[..., :, 1:] - images[..., :, :-1]
    below = images[..., 1:, :] - images[..., :-1, :]
    falling = images[..., 1:, 1:] - images[..., :-1, :-1]
    rising = images[..., 1:, :-1] - images[..., :-1, 1:]
    return torch.stack([torch.linalg.vector_norm(d) for d in (right, below, falling, rising)]).sum()


def l2(images: Tensor) -> Tensor:
    """L2 norm of the whole batch, a scalar."""
    return torch.linalg.vector_norm(images)
