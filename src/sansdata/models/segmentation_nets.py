"""Networks that name a class for each pixel: normalised images (B, C, H, W) -> logits (B, K, H, W), of any height and
width."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvNorm(nn.Sequential):
    """A 3x3 convolution of rate `dilation`, BatchNorm, ReLU."""

    def __init__(self, inputs: int, outputs: int, dilation: int = 1, kernel: int = 3) -> None:
        conv = nn.Conv2d(inputs, outputs, kernel, padding=dilation * (kernel // 2), dilation=dilation, bias=False)
        super().__init__(conv, nn.BatchNorm2d(outputs), nn.ReLU())


def _twice(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(ConvNorm(inputs, outputs), ConvNorm(outputs, outputs))


class UNet(nn.Module):
    """Two convolutions at each depth, joined across by concatenation (Ronneberger et al. 2015).

    Deviation: padded convolutions with BatchNorm, and enlarging by nearest neighbours instead of transposed
    convolutions, so that a mask has the size of its image.
    """

    def __init__(self, channels: int, classes: int, widths: Sequence[int]) -> None:
        """widths: of each depth, from the top."""
        super().__init__()
        self.down = nn.ModuleList(_twice(a, b) for a, b in zip((channels, *widths), widths))
        steps = list(pairwise(widths))[::-1]
        self.up = nn.ModuleList(_twice(above + below, above) for above, below in steps)
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept: list[Tensor] = []
        for place, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2, ceil_mode=True) if place else x)
            kept.append(x)
        for block, across in zip(self.up, kept[-2::-1]):
            x = block(torch.cat([across, F.interpolate(x, across.shape[2:])], 1))
        return self.head(x)


class SegNet(nn.Module):
    """An encoder and a decoder that puts each maximum back where it was found (Badrinarayanan et al. 2017).

    Deviation: of equal maxima in a window all get it back, which needs no list of places and so can leave as a file;
    two convolutions at a depth instead of two or three.
    """

    def __init__(self, channels: int, classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.down = nn.ModuleList(_twice(a, b) for a, b in zip((channels, *widths), widths))
        self.up = nn.ModuleList(_twice(b, a) for a, b in list(zip((widths[0], *widths), widths))[::-1])
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        places: list[tuple[Tensor, Tensor]] = []
        for block in self.down:
            x = block(x)
            pooled = F.max_pool2d(x, 2, ceil_mode=True)
            places.append((x, pooled))
            x = pooled
        for block, (fine, coarse) in zip(self.up, places[::-1]):
            x = block(_unpooled(x, fine, coarse))
        return self.head(x)


def _unpooled(x: Tensor, fine: Tensor, coarse: Tensor) -> Tensor:
    """x (B, C, h, w) at those of the pixels of `fine` (B, C, H, W) that are the maxima `coarse` (B, C, h, w)."""
    size = fine.shape[2:]
    return F.interpolate(x, size) * (fine >= F.interpolate(coarse, size)).to(x.dtype)


class DeepLab(nn.Module):
    """Convolutions of several rates beside each other on a map of a quarter of the size, and one fine map for the edges
    (DeepLabv3+, Chen et al. 2018), without its backbone: small."""

    RATES = (1, 2, 4)

    def __init__(self, channels: int, classes: int, width: int) -> None:
        super().__init__()
        self.fine = _twice(channels, width)
        self.middle = _twice(width, 2 * width)
        self.coarse = _twice(2 * width, 4 * width)
        self.rates = nn.ModuleList(ConvNorm(4 * width, 2 * width, rate) for rate in self.RATES)
        self.whole = nn.Conv2d(4 * width, 2 * width, 1)
        self.project = ConvNorm(2 * width * (len(self.RATES) + 1), 2 * width, kernel=1)
        self.refine = ConvNorm(3 * width, 2 * width)
        self.head = nn.Conv2d(2 * width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(x)
        middle = self.middle(F.max_pool2d(fine, 2, ceil_mode=True))
        coarse = self.coarse(F.max_pool2d(middle, 2, ceil_mode=True))
        whole = self.whole(coarse.mean((2, 3), keepdim=True)).relu().expand(-1, -1, *coarse.shape[2:])
        context = self.project(torch.cat([*(rate(coarse) for rate in self.rates), whole], 1))
        context = F.interpolate(context, fine.shape[2:], mode="bilinear")
        return self.head(self.refine(torch.cat([fine, context], 1)))
