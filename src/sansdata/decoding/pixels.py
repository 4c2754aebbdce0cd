"""Pixels between unit space, in which images travel, and the bytes in which they are kept."""

from __future__ import annotations

import torch
from torch import Tensor


def pack(images: Tensor) -> Tensor:
    """Unit-space images as uint8 on the CPU; what lies outside 0..1 is clamped."""
    return images.detach().mul(255).round_().clamp_(0, 255).to("cpu", torch.uint8)


def unpack(packed: Tensor) -> Tensor:
    """uint8 images in unit space, float32."""
    return packed.float().div_(255)
