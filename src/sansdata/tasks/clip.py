"""The input side of a clip."""

from __future__ import annotations

from typing import Literal

import pydantic

from .image import require_sensible
from .side import Side

MAX_VOXELS = 16 * 1024 * 1024
"""Of one clip: frames times height times width."""


class ClipSpec(Side):
    """Frames that follow each other. shape: (channels, frames, height, width), with 1 or 3 channels. fps: frames a
    second."""

    kind: Literal["clip"] = "clip"
    shape: tuple[int, int, int, int]
    fps: float = pydantic.Field(default=50.0, gt=0, le=10_000)

    @pydantic.model_validator(mode="after")
    def _sensible(self) -> ClipSpec:
        channels, frames, height, width = self.shape
        require_sensible((channels, height, width))
        if frames < 2 or frames * height * width > MAX_VOXELS:
            raise ValueError(
                f"shape must be [channels, frames, height, width] with 2 frames or more, and {MAX_VOXELS:,} pixels in "
                f"all of them at most, got {list(self.shape)}"
            )
        return self
