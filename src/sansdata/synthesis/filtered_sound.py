"""Sounds as gains on a source: what is optimised is how loud each band is at each moment, and what is heard is always a
sound. The samples themselves would be optimised into what no ear and no other network hears."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from ..kinds.inputs.log_mel import filterbank

BANDS = 40
LOUDEST, QUIETEST = 4.0, -8.0
"""Natural logarithms of the gain of a band."""
LEVEL = 0.1
"""Root of the mean square of a sound."""


class FilteredSound:
    """Sounds of `length` samples, `rate` a second, as gains (B, 1, BANDS, frames)."""

    def __init__(self, rate: int, length: int) -> None:
        self.rate, self.length = rate, length
        self.size = max(16, 2 ** round(math.log2(0.032 * rate)))
        self.hop = self.size // 4
        self.frames = length // self.hop + 1
        bands = torch.from_numpy(filterbank(rate, self.size, BANDS)).T
        self.spread = bands / bands.sum(1, keepdim=True).clamp_min(1e-9)
        """(bins, BANDS): a bin has the gain of the bands around it; the lowest and highest have that of the next."""
        empty = bands.sum(1) <= 0
        self.spread[empty] = torch.eye(BANDS)[[0 if bin < len(bands) // 2 else -1 for bin in empty.nonzero().flatten()]]

    def sources(self, count: int, generator: Generator) -> Tensor:
        """(count, length): breath and pulses of 80 to 260 Hz, mixed."""
        breath = torch.randn(count, self.length, generator=generator)
        hertz = 80 + 180 * torch.rand(count, 1, generator=generator)
        phase = (hertz / self.rate * torch.arange(self.length)).floor()
        pulses = torch.cat([torch.zeros(count, 1), phase.diff(dim=1)], 1).clamp(0, 1) * (self.rate / hertz).sqrt()
        share = torch.rand(count, 1, generator=generator)
        return share * pulses + (1 - share) * breath

    def __call__(self, gains: Tensor, sources: Tensor, length: int) -> Tensor:
        """(B, length of all) float32, zeros behind `length`, all of one loudness; gradients reach the gains."""
        window = torch.hann_window(self.size, device=gains.device)
        turned = torch.stft(sources, self.size, self.hop, window=window, return_complex=True)
        loud = torch.einsum("nb,xbt->xnt", self.spread.to(gains.device), gains[:, 0].clamp(QUIETEST, LOUDEST)).exp()
        sound = torch.istft(turned * loud, self.size, self.hop, window=window, length=self.length)
        sound = sound * (torch.arange(self.length, device=sound.device) < length)
        level = (sound.square().sum(1, keepdim=True) / length + 1e-12).sqrt()
        return (LEVEL * sound / level).clamp(-1, 1)
