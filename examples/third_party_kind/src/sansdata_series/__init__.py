"""Time series of one length, a kind of input in a package of its own; pyproject.toml tells sansdata of it.

They travel and are stored as float32 (B, C, T): C channels of T samples, in the unit in which they were measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pydantic
import torch
from torch import Generator, Tensor, nn

from sansdata.errors import TaskError
from sansdata.figures import Figure, Finding, Picture, Preview, Warned
from sansdata.kinds.base import Axes, InputKind, Preprocessor
from sansdata.tasks import Side

HEIGHT = 32
"""Pixels that a channel is high in a preview."""
SAME = 0.01
"""Mean distance between neighbours in a set, in units of the range, below which all of its series are one."""


class SeriesSpec(Side):
    """A series of `channels` channels and `length` samples. range: (lowest, highest) value that occurs."""

    kind: Literal["series"] = "series"
    channels: int = pydantic.Field(default=1, ge=1, le=1_000)
    length: int = pydantic.Field(ge=2, le=1_000_000)
    range: tuple[float, float]

    @pydantic.model_validator(mode="after")
    def _rising(self) -> SeriesSpec:
        if not self.range[0] < self.range[1]:
            raise ValueError(f"range must be [lowest, highest], got {list(self.range)}")
        return self


@dataclass(frozen=True)
class Scale:
    """The door of a network: it sees (value - centre) / spread."""

    centre: float
    spread: float
    passes_on: bool = True

    def __call__(self, inputs: Tensor) -> Tensor:
        return (inputs - self.centre) / self.spread

    def describe(self) -> dict[str, Any]:
        return {"centre": self.centre, "spread": self.spread}


class Series(InputKind):
    """spec says how many channels and samples a series has, and between which values it lies."""

    Spec = SeriesSpec
    unit = "series"
    differentiable = True
    sources = ("tones", "steps", "white")

    def draw(self, count: int, generator: Generator, source: str = "", door: Preprocessor | None = None) -> Tensor:
        """(count, C, T) within the range. tones: white noise whose amplitudes fall as 1 / frequency^a, a from 0.5 to 2.
        steps: such tones, rounded to three levels. white: white noise. Each is stretched to a height of its own."""
        spec = self.spec
        noise = torch.randn(count, spec.channels, spec.length, generator=generator)
        if source != "white":
            frequency = torch.arange(spec.length // 2 + 1).clamp_min(1)
            slope = 0.5 + 1.5 * torch.rand(count, 1, 1, generator=generator)
            noise = torch.fft.irfft(torch.fft.rfft(noise) * frequency**-slope, n=spec.length)
        noise = noise / noise.abs().amax(2, keepdim=True)
        if source == "steps":
            noise = noise.mul(1.5).round().clamp(-1, 1)
        height = 0.2 + 0.8 * torch.rand(count, 1, 1, generator=generator)
        return self._centre + self._reach * height * noise

    def pack(self, inputs: Tensor) -> Tensor:
        return inputs.detach().to("cpu", torch.float32, copy=True)

    def unpack(self, packed: Tensor) -> Tensor:
        return packed

    def preprocessor(self, described: Mapping[str, Any]) -> Scale:
        """Without a description the range becomes -1 to 1."""
        if unknown := described.keys() - {"centre", "spread"}:
            raise TaskError(f"preprocessing of series has centre and spread, not '{min(unknown)}'")
        centre, spread = described.get("centre", self._centre), described.get("spread", self._reach)
        if not (isinstance(centre, int | float) and isinstance(spread, int | float) and spread > 0):
            raise TaskError(f"preprocessing of series needs a spread above 0, got {centre!r:.40} and {spread!r:.40}")
        return Scale(float(centre), float(spread))

    def to_arrays(self, packed: Tensor) -> dict[str, np.ndarray]:
        return {"series": packed.contiguous().numpy()}

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Tensor:
        series, wanted = arrays.get("series"), (self.spec.channels, self.spec.length)
        if series is None or series.dtype.kind != "f" or series.shape[1:] != wanted or not np.isfinite(series).all():
            raise ValueError(f"expected 'series' of finite floats (N, {wanted[0]}, {wanted[1]})")
        return torch.from_numpy(series.astype(np.float32))

    def statistics(self, packed: Tensor) -> list[Finding]:
        low, high = self.spec.range
        outside = ((packed < low) | (packed > high)).double().mean()
        apart = (packed - packed.roll(1, 0)).abs().double().mean() / (high - low)
        return [
            Figure("outside", float(outside), "share", "values beyond the task's range", "lower"),
            Figure("distance", float(apart), "number", "mean between two series, in units of the range"),
        ]

    def warnings(self, statistics: Mapping[str, Any]) -> list[Warned]:
        if statistics["distance"] >= SAME:
            return []
        return [Warned("identical samples", statistics["distance"], "hardly any series differs from the others")]

    def preview(self, packed: Tensor) -> list[Preview]:
        """Each series as its graph, dark on light, the channels below one another."""
        low, high = self.spec.range
        row = ((high - packed) / (high - low) * (HEIGHT - 1)).round().clamp(0, HEIGHT - 1)[:, :, None]
        before, place = torch.cat([row[..., :1], row[..., :-1]], 3), torch.arange(HEIGHT)[:, None]
        line = (torch.minimum(row, before) <= place) & (place <= torch.maximum(row, before))
        pixels = torch.where(line, 40, 250).to(torch.uint8).flatten(1, 2)[..., None]
        return [Picture(graph) for graph in pixels.numpy()]

    def describe(self) -> str:
        return f"series of {self.spec.channels} channel(s) and {self.spec.length} samples"

    def signature(self) -> Mapping[str, Axes]:
        meaning = "{:g} to {:g}, scaled inside".format(*self.spec.range)
        return {"series": Axes("float32", (self.spec.channels, self.spec.length), meaning)}

    def hint(self, module: nn.Module) -> str:
        first = next((part for part in module.modules() if isinstance(part, nn.Conv1d)), None)
        if first is None or first.in_channels == self.spec.channels:
            return ""
        return f". Its first convolution takes {first.in_channels} channel(s) and the task has {self.spec.channels}"

    @property
    def _centre(self) -> float:
        return sum(self.spec.range) / 2

    @property
    def _reach(self) -> float:
        return (self.spec.range[1] - self.spec.range[0]) / 2
