"""mixed-noise: a curriculum over random images, from dead leaves to fractal noise.

An example of a method in a package of its own, not a published algorithm. Both kinds of images follow Baradad et al.
2021, "Learning to see by looking at noise".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch
from torch import Tensor

from sansdata import Access, Batch, Method, Requirements, Strict, TransferSettings
from sansdata.kinds.inputs import image_noise as noise


class MixedNoiseConfig(Strict):
    start: float = pydantic.Field(default=0.0, ge=0, le=1)  # share of fractal images at the first step: ours
    end: float = pydantic.Field(default=1.0, ge=0, le=1)  # and towards the last: ours
    steps: int = pydantic.Field(default=2000, ge=1)  # ours
    transfer: TransferSettings = TransferSettings()  # lr 0.1, tau 20: ours


class MixedNoise(Method):
    """Every batch is drawn afresh; the share of fractal images follows the student's progress."""

    Config: ClassVar[type] = MixedNoiseConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    @classmethod
    def requires(cls, config: MixedNoiseConfig) -> Requirements:
        return Requirements(access=Access.LABELS)  # of images into classes, unless inputs= or outputs= say otherwise

    @classmethod
    def plan(cls, config: MixedNoiseConfig, steps: int) -> dict[str, int]:
        return {"transfer": steps}

    def next_move(self) -> str:
        return "transfer"

    def transfer_batch(self) -> Batch:
        images = self.draw()
        self.context.counters.add("samples", len(images))
        return self.context.teach(images)

    def fractal_images(self) -> int:
        """How many images of the next batch are fractal noise."""
        config, progress = self.config, self.context.progress.value
        share = config.start + (config.end - config.start) * progress
        return round(share * config.transfer.batch)

    def draw(self) -> Tensor:
        """(B, C, H, W) in unit space, dead leaves first."""
        count, shape = self.config.transfer.batch, self.context.task.shape
        fractal, stream = self.fractal_images(), self.context.streams("mixed-noise")
        parts = []
        if fractal < count:
            parts.append(noise.dead_leaves(count - fractal, shape, stream))
        if fractal > 0:
            parts.append(noise.fractal(fractal, shape, stream))
        return self.context.runtime.place(torch.cat(parts))

    def state(self) -> Mapping[str, Any]:
        return {}  # nothing outlives a move: the progress is the engine's, the streams need no saving
