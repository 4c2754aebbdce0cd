"""The input side of an image."""

from __future__ import annotations

from typing import Literal

import pydantic

from .side import Side

MAX_PIXELS = 1024 * 1024
"""Of one image of a task: eight of them at once, through a network, fit into the memory of a laptop."""


class ImageSpec(Side):
    """An image. shape: (channels, height, width), with 1 or 3 channels."""

    kind: Literal["image"] = "image"
    shape: tuple[int, int, int]

    @pydantic.model_validator(mode="after")
    def _sensible(self) -> ImageSpec:
        require_sensible(self.shape)
        return self


def require_sensible(shape: tuple[int, int, int]) -> None:
    """Raises ValueError for a shape (channels, height, width) that is none of an image."""
    channels, height, width = shape
    if channels not in (1, 3):
        raise ValueError(f"shape must be [channels, height, width] with 1 or 3 channels, got {list(shape)}")
    if min(height, width) < 4 or height * width > MAX_PIXELS:
        raise ValueError(
            f"height and width in shape must be at least 4, and {MAX_PIXELS:,} pixels together at most, got "
            f"{height} x {width}"
        )
