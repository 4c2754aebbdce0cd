"""Images in other channels and another size."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

CHUNK = 1_024


def to_channels(images: np.ndarray, channels: int) -> np.ndarray:
    """uint8 (N, H, W, C) with 1 or 3 channels as 3 or 1. Luma is rounded as Pillow rounds it."""
    if channels == 3:
        return np.repeat(images, 3, axis=3)
    grey = np.empty((*images.shape[:3], 1), np.uint8)
    weights = np.array([19595, 38470, 7471], np.uint32)
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK].astype(np.uint32)
        grey[start : start + CHUNK, ..., 0] = (chunk @ weights + 0x8000) >> 16
    return grey


def resize(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 (N, H, W, C) -> (N, height, width, C), bilinear, antialiased where it shrinks (as Pillow does)."""
    out = np.empty((len(images), height, width, images.shape[3]), np.uint8)
    for start in range(0, len(images), CHUNK):
        chunk = torch.from_numpy(np.ascontiguousarray(images[start : start + CHUNK])).permute(0, 3, 1, 2)
        small = F.interpolate(chunk, (height, width), mode="bilinear", antialias=True)
        out[start : start + CHUNK] = small.permute(0, 2, 3, 1).numpy()
    return out
