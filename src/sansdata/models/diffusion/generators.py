"""Small generators in one step, of points and of pictures: noise, a share of the way, a label -> the signal there."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .steerable import WAVES, Steerable, silent


class Told(nn.Module):
    """What a generator is told beside its noise: (B, 2 * WAVES + labels) of a share of the way (B,) and of a label (B,)
    where there are some. What it is told further is added to that."""

    frequencies: Tensor
    further: nn.Linear

    def __init__(self, conditions: int) -> None:
        """conditions: one more than there are labels."""
        super().__init__()
        self.width = 2 * WAVES + conditions - 1
        self.conditions = conditions
        self.register_buffer("frequencies", math.pi * torch.arange(1, WAVES + 1) / 2, persistent=False)

    def take(self, entries: int) -> None:
        self.further = silent(entries, self.width)

    def forward(self, noise: Tensor, time: Tensor, label: Tensor | None, further: Tensor | None) -> Tensor:
        phases = time.to(noise.dtype)[:, None] * self.frequencies.to(noise.dtype)
        parts = [phases.sin(), phases.cos()]
        if self.conditions > 1:
            assert label is not None, "a generator of labels is asked for one"
            parts.append(F.one_hot(label, self.conditions - 1).to(noise.dtype))
        condition = torch.cat(parts, 1)
        return condition if further is None else condition + self.further(further)


class PointNet(Steerable):
    """A generator of points (B, D). Without BatchNorm, so that two passes of a step see the same network."""

    def __init__(self, numbers: int, conditions: int = 1, widths: Sequence[int] = (96, 96, 96)) -> None:
        super().__init__()
        self.takes, self.told = numbers, Told(conditions)
        entries = numbers + self.told.width
        layers: list[nn.Module] = []
        for before, width in zip([entries, *widths], widths):
            layers += [nn.Linear(before, width), nn.SiLU()]
        self.hidden = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], numbers)

    def take_condition(self, entries: int) -> None:
        self.told.take(entries)

    def signal(
        self, noise: Tensor, time: Tensor, label: Tensor | None, start: Tensor | None, condition: Tensor | None
    ) -> Tensor:
        return self.head(self.hidden(torch.cat([noise, self.told(noise, time, label, condition)], 1)))


class PictureNet(Steerable):
    """A generator of pictures (B, C, H, W) of even height and width: a UNet of three depths with GroupNorm, which
    scales and shifts the maps of each block by what it is told. Four pixels are the channels of one place, since most
    of the cost is in the largest maps."""

    def __init__(self, channels: int, conditions: int = 1, width: int = 32) -> None:
        super().__init__()
        self.takes, self.told = 4 * channels, Told(conditions)
        widths, entries = (width, 2 * width, 3 * width), self.told.width
        self.stem = nn.Conv2d(4 * channels, width, 3, padding=1)
        self.down = nn.ModuleList(
            [_Told(before, after, entries) for before, after in zip((width, *widths), (*widths, widths[-1]))]
        )
        self.up = nn.ModuleList(
            [_Told(below + across, across, entries) for below, across in zip(widths[::-1], widths[-2::-1])]
        )
        self.head = nn.Conv2d(width, 4 * channels, 3, padding=1)

    def take_condition(self, entries: int) -> None:
        self.told.take(entries)

    def signal(
        self, noise: Tensor, time: Tensor, label: Tensor | None, start: Tensor | None, condition: Tensor | None
    ) -> Tensor:
        conditions = self.told(noise, time, label, condition)
        maps, shortcuts = self.stem(F.pixel_unshuffle(noise, 2)), []
        for depth, block in enumerate(self.down):
            maps = block(maps if depth in (0, 3) else F.avg_pool2d(maps, 2, ceil_mode=True), conditions)
            shortcuts.append(maps)
        for block, across in zip(self.up, shortcuts[1::-1]):
            maps = block(torch.cat([F.interpolate(maps, across.shape[2:]), across], 1), conditions)
        return F.pixel_shuffle(self.head(maps), 2)


class DenoisingPictureNet(PictureNet):
    """The same network as a denoiser has it: states (B, C, H, W), times (B,) in 0..1, labels -> (B, C, H, W)."""

    def forward(  # type: ignore[override]
        self, state: Tensor, time: Tensor, label: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        return self.signal(state, time, label, None, condition)


class _Told(nn.Module):
    """Two convolutions behind GroupNorm, whose maps are scaled and shifted by what is told, beside a shortcut."""

    def __init__(self, before: int, after: int, entries: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.GroupNorm(_groups(before), before), nn.GroupNorm(_groups(after), after)])
        self.convolutions = nn.ModuleList([nn.Conv2d(size, after, 3, padding=1) for size in (before, after)])
        self.say = nn.Sequential(nn.Linear(entries, 64), nn.SiLU(), nn.Linear(64, 2 * after))
        self.shortcut = nn.Conv2d(before, after, 1)

    def forward(self, maps: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.say(condition)[:, :, None, None].chunk(2, 1)
        inner = self.convolutions[0](F.silu(self.norms[0](maps)))
        inner = self.convolutions[1](F.silu(self.norms[1](inner) * (1 + scale) + shift))
        return inner + self.shortcut(maps)


def _groups(width: int) -> int:
    return math.gcd(8, width)
