"""Images: (B, C, H, W) in unit space, kept as uint8, seen by a network through its mean and std."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ...columns import Inputs
from ...decoding import pixels
from ...errors import TaskError
from ...figures import Figure, Finding, Picture, Preview, Warned
from ...objectives import agreement
from ...tasks import ImageSpec
from ...tasks.base import check_scale
from ..base import Axes, InputKind, Preprocessor
from . import image_noise
from .brightness import PROBLEM, plausible, training_brightness

SAME = 0.02
"""Mean distance between two samples below which they are one image, in units of the pixel range."""
SATURATED = 0.9
"""Share of pixels. Real drawings on a plain ground reach 0.8 (handwritten digits), photographs a few hundredths."""


@dataclass(frozen=True)
class Normalise:
    """A network sees (image - mean) / std, per channel; of clips, every frame."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    passes_on: bool = True

    def __call__(self, inputs: Inputs) -> Tensor:
        """Unit space (B, C, ...) -> what the network takes."""
        assert isinstance(inputs, Tensor)
        return (inputs - _column(self.mean, inputs)) / _column(self.std, inputs)

    def undo(self, taken: Tensor) -> Tensor:
        """What the network takes -> unit space."""
        return taken * _column(self.std, taken) + _column(self.mean, taken)

    def describe(self) -> dict[str, Any]:
        return {"mean": list(self.mean), "std": list(self.std)}


def _column(values: tuple[float, ...], beside: Tensor) -> Tensor:
    # Not cached: a column that was first made while a network is traced for export would be a tensor without values.
    places = (1,) * (beside.ndim - 2)
    return torch.tensor(values, dtype=torch.float32, device=beside.device).view(1, -1, *places)


class Images(InputKind):
    """spec.shape is (C, H, W)."""

    Spec = ImageSpec
    unit = "images"
    differentiable = True
    sources = ("contrasts", "gaussian", "fractal", "dead-leaves")
    samples_file = "images.npz"

    def draw(self, count: int, generator: Generator, source: str = "", door: Preprocessor | None = None) -> Tensor:
        """contrasts: noise of rising contrast, no two images alike. gaussian: standard normal where the network behind
        `door` takes it. fractal, dead-leaves: structured noise in unit space. Parts of the first two lie outside 0..1.
        """
        shape = self.spec.shape
        if source == "fractal":
            return image_noise.fractal(count, shape, generator)
        if source == "dead-leaves":
            return image_noise.dead_leaves(count, shape, generator)
        assert isinstance(door, Normalise | None)
        around = door or self.preprocessor({"mean": (0.5,) * shape[0], "std": (0.25,) * shape[0]})
        if source == "gaussian":
            return around.undo(image_noise.gaussian(count, shape, generator))
        noise = torch.randn(count, *shape, generator=generator)
        contrast = torch.linspace(0.25, 1.5, count).view(-1, 1, 1, 1)
        shift = torch.randn(count, shape[0], 1, 1, generator=generator)
        return around.undo(contrast * noise + 0.5 * shift)

    def edges(self) -> Tensor:
        """Black, white, each channel alone, one bright pixel, and a chessboard."""
        channels, height, width = self.spec.shape
        alone = torch.eye(channels).view(channels, channels, 1, 1).expand(-1, -1, height, width)
        images = torch.zeros(4, *self.spec.shape)
        images[1] = 1
        images[2, :, height // 2, width // 2] = 1
        images[3] = (torch.arange(height)[:, None] + torch.arange(width)) % 2
        return torch.cat([images, alone])

    def pack(self, inputs: Inputs) -> Tensor:
        assert isinstance(inputs, Tensor)
        return pixels.pack(inputs)

    def unpack(self, packed: Inputs) -> Tensor:
        assert isinstance(packed, Tensor)
        return pixels.unpack(packed)

    def fitted(self, inputs: Inputs) -> Tensor:
        """Images of another size are enlarged, or made smaller, bilinearly."""
        assert isinstance(inputs, Tensor)
        size = tuple(self.spec.shape[1:])
        if tuple(inputs.shape[2:]) == size:
            return inputs
        return F.interpolate(inputs, size, mode="bilinear", antialias=True)

    def preprocessor(self, described: Mapping[str, Any]) -> Normalise:
        channels = self.spec.shape[0]
        mean, std = (described.get(name, (default,) * channels) for name, default in (("mean", 0.0), ("std", 1.0)))
        try:
            door = Normalise(tuple(float(value) for value in mean), tuple(float(value) for value in std))
            check_scale(door.mean, door.std, channels)
        except (TypeError, ValueError) as fault:
            raise TaskError(f"preprocessing of images needs mean and std per channel: {fault}") from None
        if unknown := described.keys() - {"mean", "std"}:
            raise TaskError(f"preprocessing of images has mean and std, not '{sorted(unknown)[0]}'")
        return door

    def to_arrays(self, packed: Inputs) -> dict[str, np.ndarray]:
        assert isinstance(packed, Tensor)
        return {"images": packed.permute(0, 2, 3, 1).contiguous().numpy()}

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Tensor:
        images = arrays.get("images", arrays.get("x"))
        if images is None or images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
            actual = "none" if images is None else f"{images.dtype} {images.shape}"
            raise ValueError(f"expected images as uint8 (N, H, W, 1 or 3), got {actual}")
        return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).contiguous()

    def statistics(self, packed: Inputs) -> list[Finding]:
        images = self.unpack(packed)
        return [
            Figure(
                "saturated", agreement.saturation(images), "share",
                "pixel values at the ends of the range; high: clipped images",
            ),
            Figure(
                "pairwise_distance", agreement.pairwise_distance(images), "number",
                "mean between samples, of the pixel range; near 0: all alike",
            ),
        ]  # fmt: skip

    def warnings(self, statistics: Mapping[str, Any]) -> list[Warned]:
        warned = []
        if statistics["pairwise_distance"] < SAME:
            warned.append(Warned(
                "identical samples", statistics["pairwise_distance"],
                "mean distance between two samples, in units of the full pixel range: the samples hardly differ, so "
                "the student learned one image. Lower the generator's rate, take a longer latent code (latent) or a "
                "larger batch.",
            ))  # fmt: skip
        if statistics["saturated"] > SATURATED:
            warned.append(Warned(
                "saturated samples", statistics["saturated"],
                "share of pixels at pure black or white: the generator is stuck at the ends of its range, where no "
                "gradient moves it, or the task's mean and std are wrong for this teacher. Look at mean and std, then "
                "lower generator_lr (or pixel_lr). Drawings in plain black and white may be so by nature.",
            ))  # fmt: skip
        return warned

    def preview(self, packed: Inputs) -> list[Preview]:
        return [Picture(image) for image in self.to_arrays(packed)["images"]]

    def describe(self) -> str:
        return "normalised images, {} x {} x {} (channels x height x width)".format(*self.spec.shape)

    def signature(self) -> Mapping[str, Axes]:
        return {"images": Axes("float32", tuple(self.spec.shape), "0..1, normalised inside")}

    def hint(self, module: nn.Module) -> str:
        first = next((part for part in module.modules() if isinstance(part, nn.Conv2d)), None)
        if first is None or first.in_channels == self.spec.shape[0]:
            return ""
        return f". Its first convolution takes {first.in_channels} channel(s) and the task has {self.spec.shape[0]}"

    def doubts(
        self, module: nn.Module, preprocessor: Preprocessor, inputs: Inputs
    ) -> tuple[dict[str, float], list[str]]:
        """The brightness of the training images, by the first BatchNorm behind the first convolution."""
        assert isinstance(preprocessor, Normalise)
        assert isinstance(inputs, Tensor)
        brightness = training_brightness(module, preprocessor.undo(inputs), inputs)
        if brightness is None:
            return {}, []
        figures = {"mean": round(brightness.mean, 4), "std": round(brightness.std, 4)}
        if plausible(brightness, preprocessor.std):
            return figures, []
        return figures, [
            f"{PROBLEM}: by its first BatchNorm its training images would have had a mean of {brightness.mean:.2f} "
            f"and a std of {brightness.std:.2f} in 0..1 "
            "(a photograph: about 0.45 and 0.25). Give the task those that it was trained with (mean 0, std 1 for "
            "images fed in 0..1, also where the network normalises them inside; mean 0, std 0.0039 for 0..255)."
        ]
