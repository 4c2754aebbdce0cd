"""Denoising networks of ours: one for small pictures, one for points, and the exact denoiser of a mixture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .denoiser import Denoiser
from .schedules import Cosine, Discrete, Schedule


class PlainDenoisingNet(nn.Module):
    """A stack of 7 x 7 convolutions with LayerNorm over whole maps, without any change of size: states
    (B, C, H, W) and times (B,) in 0..`times` -> (B, C, H, W). The time is added behind the first block.

    The network of sdaloglu/diffusion_with_entropy; its names are those of that checkpoint.
    """

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

    def forward(self, state: Tensor, time: Tensor) -> Tensor:
        phases = (time / self.times)[:, None] * self.frequencies.to(state.dtype)
        told = self.time_embed(torch.cat([phases.sin(), phases.cos() - 1], 1).to(state.dtype))
        maps = self.blocks[0](state) + told[:, :, None, None]
        for block in self.blocks[1:]:
            maps = block(maps)
        return maps


class _Block(nn.Module):
    def __init__(self, before: int, width: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(before, width, 7, padding=3), nn.LayerNorm((width, *size)), nn.GELU())

    def forward(self, maps: Tensor) -> Tensor:
        return self.net(maps)


class PlainDDPM(Denoiser):
    """The denoiser of that checkpoint, its tensors by their names there: the noise is predicted, at whole times from 1
    to N, of pictures in -0.5..0.5."""

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


class PointNet(nn.Module):
    """A generator of points: noise (B, D), a share of the way (B,), a label where there are some -> (B, D). Without
    BatchNorm, so that two passes of a step see the same network."""

    def __init__(self, numbers: int, conditions: int = 1, widths: Sequence[int] = (96, 96, 96), waves: int = 8) -> None:
        """conditions: one more than there are labels."""
        super().__init__()
        self.takes, self.conditions = numbers, conditions
        entries = numbers + 2 * waves + (conditions - 1)
        layers: list[nn.Module] = []
        for before, width in zip([entries, *widths], widths):
            layers += [nn.Linear(before, width), nn.SiLU()]
        self.hidden = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], numbers)
        self.register_buffer("frequencies", math.pi * torch.arange(1, waves + 1) / 2, persistent=False)

    def forward(self, noise: Tensor, time: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        share = torch.zeros(len(noise), device=noise.device, dtype=noise.dtype) if time is None else time
        phases = share.to(noise.dtype)[:, None] * self.frequencies.to(noise.dtype)
        parts = [noise, phases.sin(), phases.cos()]
        if self.conditions > 1:
            assert label is not None, "a generator of labels is asked for one"
            parts.append(nn.functional.one_hot(label, self.conditions - 1).to(noise.dtype))
        return self.head(self.hidden(torch.cat(parts, 1)))


class Mixture(Denoiser):
    """The exact denoiser of a mixture of round Gaussians in D numbers: E[x_0 | x_t], no network at all. With labels
    each component is asked for by its own.

    What a method does to it can be compared with what is known: its data are drawn by `data`.
    """

    def __init__(
        self, centres: Tensor, deviation: float, weights: Tensor, schedule: Schedule | None = None, labels: bool = False
    ) -> None:
        """centres: (K, D). weights: (K,), of any sum."""
        super().__init__(nn.Identity(), schedule or Cosine(), "sample", labels=len(centres) if labels else 0)
        self.centres, self.weights = nn.Parameter(centres), nn.Parameter(weights / weights.sum())
        self.spread = nn.Parameter(torch.tensor(deviation, dtype=centres.dtype))

    def clean(self, state: Tensor, time: Tensor, label: Tensor | None = None, guidance: Tensor | None = None) -> Tensor:
        alpha, sigma = self.schedule.alpha(time)[:, None], self.schedule.sigma(time)[:, None]
        alpha, sigma = alpha.to(state.dtype), sigma.to(state.dtype)
        total = alpha**2 * self.spread**2 + sigma**2
        far = (state[:, None] - alpha[:, None] * self.centres).square().sum(2)
        scores = self.weights.log() - far / (2 * total)
        if label is not None and self.labels:
            own = nn.functional.one_hot(label, len(self.centres)).bool()
            scores = scores.masked_fill(~own, -torch.inf)
        towards = alpha[:, None] * self.spread**2 / total[:, None] * (state[:, None] - alpha[:, None] * self.centres)
        return (scores.softmax(1)[:, :, None] * (self.centres + towards)).sum(1)

    def data(self, count: int, generator: torch.Generator) -> Tensor:
        """Samples of the mixture itself, (count, D)."""
        which = torch.multinomial(self.weights.detach(), count, replacement=True, generator=generator)
        noise = torch.randn(count, self.centres.shape[1], generator=generator, dtype=self.centres.dtype)
        return (self.centres[which] + self.spread * noise).detach()


def ring(labels: bool = False) -> Mixture:
    """Eight Gaussians on a circle of radius 2, deviation 0.15, half of them twice as frequent as the others."""
    angles = torch.arange(8) * math.pi / 4
    centres = 2 * torch.stack([angles.cos(), angles.sin()], 1)
    return Mixture(centres, 0.15, torch.tensor([1.0, 1, 1, 1, 2, 2, 2, 2]), labels=labels)
