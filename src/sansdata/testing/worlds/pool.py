"""Images that are nobody's, for methods that choose from a pool."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ...decoding.image_pool import ImagePool


def pool_images(shape: tuple[int, int, int], count: int = 48) -> np.ndarray:
    """uint8 (N, H, W, C): bars and noise, which the tiny teachers do not all take for one class."""
    channels, height, width = shape
    random = np.random.default_rng(3)
    images = random.integers(0, 256, (count, height, width, channels), dtype=np.uint8)
    images[::2, : height // 2] //= 4
    images[::3, :, width // 2 :] = 255 - images[::3, :, width // 2 :] // 8
    return images


def make_pool(shape: tuple[int, int, int] = (1, 8, 8), count: int = 48) -> ImagePool:
    images = torch.from_numpy(pool_images(shape, count)).permute(0, 3, 1, 2).contiguous()
    return ImagePool(Path("pool"), images, count, 0, "none", 0)
