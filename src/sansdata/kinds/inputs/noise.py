"""Noise for a generator: (B, *shape) of independent standard normal numbers, kept as float32. Where a generator takes a
label it travels as {'noise': (B, *shape), 'label': (B,) int64}, and one that is told how strongly to follow it has
'guidance': (B,) float32 beside these. Nothing else is told to a generator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from ... import columns
from ...columns import Inputs
from ...errors import TaskError
from ...figures import Drawing, Figure, Finding, Picture, Preview, Record, Warned
from ...tasks import NoiseSpec
from ..base import Axes, InputKind, Preprocessor

FEW = 0.02
"""Share of distinct samples below which they are one."""
SHOWN = 8
"""Numbers of a noise that is no picture which a preview shows."""
REACH = 3.0
"""Standard deviations at which a picture of noise is black or white."""


@dataclass(frozen=True)
class AsItIs:
    """A network takes noise as it travels. Columns that a method adds, such as a time, pass too."""

    passes_on: bool = True

    def __call__(self, inputs: Inputs) -> Inputs:
        return inputs

    def describe(self) -> dict[str, Any]:
        return {}


class Noise(InputKind):
    """spec.shape is that of one noise; with spec.labels a label travels beside it."""

    Spec = NoiseSpec
    unit = "noises"
    differentiable = True
    sources = ("gaussian",)
    exact = True
    """A denoiser divides by what is left of the signal, which is nearly nothing in noise."""

    def draw(self, count: int, generator: Generator, source: str = "", door: Preprocessor | None = None) -> Inputs:
        """Standard normal numbers, labels of equal chance, strengths evenly over their range."""
        noise = torch.randn(count, *self.spec.shape, generator=generator)
        if not self.spec.labels:
            return noise
        drawn = {"noise": noise, "label": torch.randint(self.spec.labels, (count,), generator=generator)}
        if self.spec.guidance is not None:
            low, high = self.spec.guidance
            drawn["guidance"] = low + (high - low) * torch.rand(count, generator=generator)
        return drawn

    def pack(self, inputs: Inputs) -> Inputs:
        """Without the columns that a method added."""
        if not self.spec.labels:
            return noise_of(inputs).detach().float().cpu().clone()
        assert not isinstance(inputs, Tensor)
        packed = {"noise": inputs["noise"].float(), "label": inputs["label"].long()}
        if self.spec.guidance is not None:
            packed["guidance"] = inputs["guidance"].float()
        return {name: column.detach().cpu().clone() for name, column in packed.items()}

    def unpack(self, packed: Inputs) -> Inputs:
        return columns.copied(packed)

    def preprocessor(self, described: Mapping[str, Any]) -> AsItIs:
        if described:
            raise TaskError(f"noise reaches a generator as it is: its preprocessing has no '{next(iter(described))}'")
        return AsItIs()

    def to_arrays(self, packed: Inputs) -> dict[str, np.ndarray]:
        named = {"noise": packed} if isinstance(packed, Tensor) else packed
        return {name: column.contiguous().numpy() for name, column in named.items()}

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Inputs:
        noise, label, shape = arrays.get("noise"), arrays.get("label"), tuple(self.spec.shape)
        if noise is None or noise.dtype.kind != "f" or noise.shape[1:] != shape or noise.ndim != len(shape) + 1:
            actual = "none" if noise is None else f"{noise.dtype} {noise.shape}"
            raise ValueError(f"expected noise as floats (N, {', '.join(map(str, shape))}), got {actual}")
        if not np.isfinite(noise).all():
            raise ValueError("noise that is not finite")
        stored = torch.from_numpy(np.ascontiguousarray(noise)).float()
        if not self.spec.labels:
            return stored
        if label is None or label.dtype.kind not in "iu" or label.shape != (len(noise),):
            raise ValueError(f"expected 'label' as integers ({len(noise)},), got {getattr(label, 'shape', 'none')}")
        if ((label < 0) | (label >= self.spec.labels)).any():
            raise ValueError("a label that the task does not know")
        packed = {"noise": stored, "label": torch.from_numpy(label.astype(np.int64))}
        if self.spec.guidance is not None:
            packed["guidance"] = self._strengths(arrays.get("guidance"), len(noise))
        return packed

    def _strengths(self, guidance: np.ndarray | None, count: int) -> Tensor:
        if guidance is None or guidance.dtype.kind != "f" or guidance.shape != (count,):
            raise ValueError(f"expected 'guidance' as floats ({count},), got {getattr(guidance, 'shape', 'none')}")
        low, high = self.spec.guidance
        if not ((guidance >= low) & (guidance <= high)).all():
            raise ValueError(f"a strength of guidance outside of {low:g} to {high:g}")
        return torch.from_numpy(guidance.astype(np.float32))

    def statistics(self, packed: Inputs) -> list[Finding]:
        noise = noise_of(packed).flatten(1).double()
        whole = torch.cat([noise, packed["label"][:, None].double()], 1) if not isinstance(packed, Tensor) else noise
        findings: list[Finding] = [
            Figure("distinct", len(whole.unique(dim=0)) / len(whole), "share", "noises that occur once", "higher"),
            Figure("noise_std", float(noise.std(correction=0)), "number", "standard deviation; 1 is what is drawn"),
        ]  # fmt: skip
        if not isinstance(packed, Tensor):
            bars = torch.bincount(packed["label"], minlength=self.spec.labels)
            findings.append(Drawing("labels", "bars", bars.tolist(), "samples of each label", self.spec.label_names))
        return findings

    def warnings(self, statistics: Mapping[str, Any]) -> list[Warned]:
        if statistics["distinct"] >= FEW:
            return []
        return [Warned("identical samples", statistics["distinct"], "hardly any noise differs from the others")]

    def preview(self, packed: Inputs) -> list[Preview]:
        """A picture where it has the shape of one; else its first numbers, and its label."""
        noise, shape = noise_of(packed), self.spec.shape
        if len(shape) == 3 and shape[0] in (1, 3):
            grey = noise.div(2 * REACH).add(0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
            return [Picture(one) for one in grey.permute(0, 2, 3, 1).numpy()]
        records: list[Preview] = []
        for place, row in enumerate(noise.flatten(1)):
            fields = {str(number): f"{float(value):.3g}" for number, value in enumerate(row[:SHOWN])}
            if not isinstance(packed, Tensor):
                fields["label"] = self._name_of(int(packed["label"][place]))
            records.append(Record(fields))
        return records

    def _name_of(self, label: int) -> str:
        return self.spec.label_names[label] if self.spec.label_names else str(label)

    def describe(self) -> str:
        shape = " x ".join(str(size) for size in self.spec.shape)
        return f"standard normal noise of {shape}" + (
            f", and one of {self.spec.labels} labels" * bool(self.spec.labels)
        )

    def signature(self) -> Mapping[str, Axes]:
        noise = {"noise": Axes("float32", tuple(self.spec.shape), "independent standard normal numbers")}
        if self.spec.labels:
            noise["label"] = Axes("int64", (), "which one to make")
        if self.spec.guidance is not None:
            low, high = self.spec.guidance
            noise["guidance"] = Axes("float32", (), f"how strongly to follow the label, {low:g} to {high:g}")
        return noise

    def hint(self, module: nn.Module) -> str:
        first = next((part for part in module.modules() if isinstance(part, nn.Linear | nn.Conv2d)), None)
        if first is None:
            return ""
        flat = isinstance(first, nn.Linear)
        own = first.in_features if isinstance(first, nn.Linear) else first.in_channels
        takes = getattr(module, "takes", own)  # a network may read more than noise in its first layer
        has = self.spec.numbers if flat else self.spec.shape[0]
        if takes == has:
            return ""
        layer, what = ("linear layer", "numbers") if flat else ("convolution", "channels")
        return f". Its first {layer} takes {takes} {what} and the task's noise has {has}"


def noise_of(inputs: Inputs) -> Tensor:
    """The noise alone of what travels, (B, *shape)."""
    return inputs if isinstance(inputs, Tensor) else inputs["noise"]
