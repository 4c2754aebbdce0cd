"""Log-mel spectrograms: how a network of sounds is prepared, with the numbers that `torch.stft` gives. In an exported
network the transform is a product with windowed waves, which every program can compute."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...columns import Inputs
from ...tasks.waveform import DEFAULT_MELS, WaveformSpec

Scale = Literal["clip", "bands", "none", "whisper"]
SCALES: tuple[Scale, ...] = ("clip", "bands", "none", "whisper")
QUIET = 1e-6
"""Power below which a band is silent, of samples in -1..1: where 16 bits end."""
LINEAR, BREAK, STEP = 200 / 3, 1000.0, math.log(6.4) / 27
"""Slaney's scale: linear in hertz below BREAK, logarithmic above."""


@dataclass(frozen=True)
class LogMel:
    """From {'waveform': (B, L), 'length': (B,)} to log-mel bands: as columns of `names`, bands (B, F, T) and mask
    (B, T) of frames that hold sound, or, where `names` is one, the bands alone.

    rate: samples a second. window, hop: samples. scale: 'clip' gives the frames of a clip mean 0 and deviation 1,
    'bands' each band of a clip, 'none' leaves the natural logarithm of power, 'whisper' is that of Whisper (Radford et
    al. 2022): base 10, cut at 8 below the clip's peak, plus 4, over 4. Frames behind a clip's end are 0, but for
    'whisper', which hears silence there. prompt: ids that a decoder begins with, in the column 'tokens', where the
    inputs have no such column of their own.
    """

    rate: int
    window: int
    hop: int
    mels: int = DEFAULT_MELS
    scale: Scale = "clip"
    names: tuple[str, ...] = ("bands", "mask")
    prompt: tuple[int, ...] = ()
    passes_on: bool = True

    @classmethod
    def of(cls, rate: int, length: int, mels: int = DEFAULT_MELS) -> LogMel:
        """The plain door of such sounds."""
        spec = WaveformSpec(rate=rate, length=length)
        return cls(rate, spec.window, spec.hop, mels)

    def __call__(self, inputs: Inputs) -> Inputs:
        assert not isinstance(inputs, Tensor)
        if "states" in inputs:  # an encoder has heard them
            return {name: inputs[name] for name in ("states", "tokens")}
        bands, mask = self.bands(inputs["waveform"]), self.mask(inputs["waveform"], inputs["length"])
        scaled = self.scaled(bands, mask)
        if not self.prompt:
            return scaled if len(self.names) == 1 else dict(zip(self.names, (scaled, mask)))
        columns = dict(zip(self.names, (scaled, mask)))
        prompt = torch.tensor(self.prompt, device=scaled.device).expand(scaled.shape[0], -1)
        return columns | {"tokens": inputs.get("tokens", prompt)}

    def frames(self, length: int) -> int:
        """Of a clip of so many samples."""
        return length // self.hop + (self.scale != "whisper")

    def mask(self, waveform: Tensor, length: Tensor) -> Tensor:
        """(B, T) bool: frames whose middle lies within the clip."""
        places = torch.arange(self.frames(waveform.shape[1]), device=waveform.device) * self.hop
        return places[None] < length[:, None]

    def bands(self, waveform: Tensor) -> Tensor:
        """(B, F, T) power in each band, float32; frames lie around multiples of the hop, mirrored at the ends."""
        half = self.window // 2
        padded = F.pad(waveform.float()[:, None], (half, self.window - half), mode="reflect")[:, 0]
        return self.power(padded.unfold(1, self.window, self.hop)[:, : self.frames(waveform.shape[1])])

    def power(self, frames: Tensor) -> Tensor:
        """(B, F, T) of the samples under each frame, (B, T, window)."""
        tables = _tables(self.rate, self.window, self.mels)
        hann, waves, filters = (torch.from_numpy(table).to(frames.device) for table in tables)
        if torch.compiler.is_exporting():
            real, imaginary = (frames @ waves).chunk(2, 2)
            power = real.square() + imaginary.square()
        else:
            turned = torch.fft.rfft(frames * hann)
            power = turned.real.square() + turned.imag.square()
        return (power @ filters).transpose(1, 2)

    def scaled(self, bands: Tensor, mask: Tensor) -> Tensor:
        if self.scale == "whisper":
            logs = bands.clamp_min(1e-10).log10()
            return (torch.maximum(logs, logs.amax((1, 2), keepdim=True) - 8) + 4) / 4
        logs, weight = (bands + QUIET).log(), mask[:, None].float()
        if self.scale != "none":
            axes, count = ((1, 2), bands.shape[1]) if self.scale == "clip" else ((2,), 1)
            total = weight.sum((1, 2), keepdim=True).clamp_min(1) * count
            mean = (logs * weight).sum(axes, keepdim=True) / total
            around = (logs - mean) * weight
            logs = around / ((around.square().sum(axes, keepdim=True) / total).sqrt() + 1e-2)
        return logs * weight

    def describe(self) -> dict[str, Any]:
        return {
            "door": "log-mel", "window": self.window, "hop": self.hop, "mels": self.mels, "scale": self.scale,
            "names": list(self.names), **({"prompt": list(self.prompt)} if self.prompt else {}),
        }  # fmt: skip


@dataclass(frozen=True)
class Samples:
    """The waveform itself, (B, L) in -1..1, for modules that listen to samples; with its length where two are named. A
    program that is only asked does not pass it on: its student has a door of its own."""

    names: tuple[str, ...] = ("waveform",)
    passes_on: bool = True

    def __call__(self, inputs: Inputs) -> Inputs:
        assert not isinstance(inputs, Tensor)
        if len(self.names) == 1:
            return inputs["waveform"]
        return dict(zip(self.names, (inputs["waveform"], inputs["length"])))

    def describe(self) -> dict[str, Any]:
        return {"door": "samples" if self.passes_on else "black-box", "names": list(self.names)}


@lru_cache(maxsize=16)
def _tables(rate: int, window: int, mels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(a Hann window (W,); waves (W, 2 N): cosines, then sines, under it; filters (N, F)), N = W // 2 + 1, float32. No
    tensors: one that is made while a network is traced for export belongs to that trace, and must not be kept."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    angles = 2 * np.pi * np.outer(np.arange(window), np.arange(window // 2 + 1)) / window
    waves = hann[:, None] * np.concatenate([np.cos(angles), -np.sin(angles)], 1)
    return hann.astype(np.float32), waves.astype(np.float32), filterbank(rate, window, mels).T.copy()


def filterbank(rate: int, window: int, mels: int) -> np.ndarray:
    """(mels, window // 2 + 1) float32: triangles of area 1 between equal steps of Slaney's scale, from 0 to half the
    rate."""
    places = np.linspace(0, window // 2 * rate / window, window // 2 + 1)
    top = _mel(rate / 2)
    corners = np.array([_hertz(mel) for mel in np.linspace(0, top, mels + 2)])
    rising = (places[None] - corners[:-2, None]) / np.diff(corners)[:-1, None]
    falling = (corners[2:, None] - places[None]) / np.diff(corners)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return (triangles * (2 / (corners[2:] - corners[:-2]))[:, None]).astype(np.float32)


def _mel(hertz: float) -> float:
    return hertz / LINEAR if hertz < BREAK else BREAK / LINEAR + math.log(hertz / BREAK) / STEP


def _hertz(mel: float) -> float:
    return mel * LINEAR if mel < BREAK / LINEAR else BREAK * math.exp(STEP * (mel - BREAK / LINEAR))
