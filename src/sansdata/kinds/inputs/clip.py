"""Clips: (B, C, T, H, W) in unit space, kept as uint8, seen by a network through its mean and std."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from ...columns import Inputs
from ...decoding import pixels
from ...figures import Figure, Film, Finding, Preview, Warned
from ...objectives import agreement
from ...tasks import ClipSpec, ImageSpec
from ..base import Axes, InputKind, Preprocessor
from .image import SAME, Images, Normalise

STILL = 0.004
"""Mean change from frame to frame, of the pixel range, below which nothing moves: one level of 255."""


class Clips(InputKind):
    """spec.shape is (C, T, H, W)."""

    Spec = ClipSpec
    unit = "clips"
    differentiable = True
    sources = ("contrasts", "still")

    def draw(self, count: int, generator: Generator, source: str = "", door: Preprocessor | None = None) -> Tensor:
        """contrasts: every frame noise of its own, of rising contrast from clip to clip, parts of it outside 0..1.
        still: one such frame for the whole clip."""
        channels, frames, height, width = self.spec.shape
        moving = 1 if source == "still" else frames
        noise = torch.randn(count, channels, moving, height, width, generator=generator)
        contrast = torch.linspace(0.06, 0.375, count).view(-1, 1, 1, 1, 1)
        shift = 0.125 * torch.randn(count, channels, 1, 1, 1, generator=generator)
        return (0.5 + shift + contrast * noise).expand(-1, -1, frames, -1, -1).contiguous()

    def pack(self, inputs: Inputs) -> Tensor:
        assert isinstance(inputs, Tensor)
        return pixels.pack(inputs)

    def unpack(self, packed: Inputs) -> Tensor:
        assert isinstance(packed, Tensor)
        return pixels.unpack(packed)

    def preprocessor(self, described: Mapping[str, Any]) -> Normalise:
        """That of an image, for every frame."""
        channels, _, height, width = self.spec.shape
        return Images(ImageSpec(shape=(channels, height, width))).preprocessor(described)

    def to_arrays(self, packed: Inputs) -> dict[str, np.ndarray]:
        assert isinstance(packed, Tensor)
        return {"clips": packed.permute(0, 2, 3, 4, 1).contiguous().numpy()}

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Tensor:
        clips = arrays.get("clips")
        if clips is None or clips.dtype != np.uint8 or clips.ndim != 5 or clips.shape[4] not in (1, 3):
            actual = "none" if clips is None else f"{clips.dtype} {clips.shape}"
            raise ValueError(f"expected clips as uint8 (N, T, H, W, 1 or 3), got {actual}")
        return torch.from_numpy(np.ascontiguousarray(clips)).permute(0, 4, 1, 2, 3).contiguous()

    def statistics(self, packed: Inputs) -> list[Finding]:
        clips = self.unpack(packed)
        change = (clips[:, :, 1:] - clips[:, :, :-1]).abs().mean()
        return [
            Figure(
                "pairwise_distance", agreement.pairwise_distance(clips), "number",
                "mean between samples, of the pixel range; near 0: all alike",
            ),
            Figure("motion", float(change), "number", "mean change from frame to frame, of the pixel range"),
        ]  # fmt: skip

    def warnings(self, statistics: Mapping[str, Any]) -> list[Warned]:
        if statistics["pairwise_distance"] < SAME:
            return [Warned(
                "identical samples", statistics["pairwise_distance"],
                "mean distance between two clips, in units of the full pixel range: the clips hardly differ, so the "
                "student learned one.",
            )]  # fmt: skip
        if statistics["motion"] < STILL:
            return [Warned(
                "clips that stand still", statistics["motion"],
                "mean change from frame to frame, in units of the full pixel range: a student of such clips learns "
                "where things are and not when they move.",
            )]  # fmt: skip
        return []

    def preview(self, packed: Inputs) -> list[Preview]:
        return [Film(clip, self.spec.fps) for clip in self.to_arrays(packed)["clips"]]

    def describe(self) -> str:
        return "normalised clips, {} x {} x {} x {} (channels x frames x height x width)".format(*self.spec.shape)

    def signature(self) -> Mapping[str, Axes]:
        return {"clips": Axes("float32", tuple(self.spec.shape), "0..1, normalised inside")}

    def hint(self, module: nn.Module) -> str:
        kinds = (nn.Conv2d, nn.Conv3d)
        first = next((part for part in module.modules() if isinstance(part, kinds)), None)
        takes = getattr(module, "channels", None if first is None else first.in_channels)
        if first is None or takes == self.spec.shape[0]:
            return ""
        return f". Its first convolution takes {takes} channel(s) and the task has {self.spec.shape[0]}"
