"""The denoiser of a public checkpoint of handwritten digits: a plain stack of convolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .denoiser import Denoiser
from .schedules import Cosine, Discrete, Schedule
from .steerable import silent


class PlainDenoisingNet(nn.Module):
    """A stack of 7 x 7 convolutions with LayerNorm over whole maps, without any change of size: states
    (B, C, H, W) and times (B,) in 0..`times` -> (B, C, H, W). The time is added behind the first block.

    The network of sdaloglu/diffusion_with_entropy; its names are those of that checkpoint.
    """

    frequencies: Tensor

    def __init__(
        self, channels: int, size: tuple[int, int], widths: Sequence[int], times: float = 1000.0, waves: int = 16
    ) -> None:
        super().__init__()
        self.times = times
        blocks: list[nn.Module] = []
        for before, width in zip([channels, *widths], widths):
            blocks.append(_Block(before, width, size))
        self.blocks = nn.ModuleList([*blocks, nn.Conv2d(widths[-1], channels, 3, padding=1)])
        self.time_embed = nn.Sequential(
            nn.Linear(2 * waves, 128), nn.GELU(), nn.Linear(128, 128), nn.GELU(), nn.Linear(128, 128), nn.GELU(),
            nn.Linear(128, widths[0]),
        )  # fmt: skip
        rising = [2 * math.pi * 1.5**number for number in range(waves - 1)]
        self.register_buffer("frequencies", torch.tensor([0.0, *rising]))

    def take_condition(self, entries: int) -> None:
        """So that it can be told `entries` numbers beside the time."""
        self.further = silent(entries, self.time_embed[-1].out_features)  # type: ignore[arg-type]

    def forward(self, state: Tensor, time: Tensor, condition: Tensor | None = None) -> Tensor:
        phases = (time / self.times)[:, None] * self.frequencies.to(state.dtype)
        moment = self.time_embed(torch.cat([phases.sin(), phases.cos() - 1], 1).to(state.dtype))
        if condition is not None:
            moment = moment + self.further(condition)
        maps = self.blocks[0](state) + moment[:, :, None, None]
        for block in self.blocks[1:]:
            maps = block(maps)
        return maps


class _Block(nn.Module):
    def __init__(self, before: int, width: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(before, width, 7, padding=3), nn.LayerNorm([width, *size]), nn.GELU())

    def forward(self, maps: Tensor) -> Tensor:
        return self.net(maps)


class PlainDDPM(Denoiser):
    """The denoiser of that checkpoint, its tensors by their names there: the noise is predicted, at whole times from 1
    to N, of pictures in -0.5..0.5."""

    alpha_t: Tensor

    def __init__(self, channels: int, size: tuple[int, int], widths: Sequence[int], times: int = 1000) -> None:
        super().__init__(nn.Identity(), Cosine(), "epsilon", clip=0.5)  # both are overridden below
        self.gt = PlainDenoisingNet(channels, size, widths, float(times))
        rates = torch.linspace(1e-4, 0.02, times + 1)
        self.register_buffer("beta_t", rates)
        self.register_buffer("alpha_t", (1 - rates).log().cumsum(0).exp())

    @property
    def network(self) -> nn.Module:  # type: ignore[override]
        return self.gt

    @property
    def schedule(self) -> Schedule:
        return Discrete(self.alpha_t, 1, len(self.alpha_t) - 1)
