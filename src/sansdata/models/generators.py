"""Generators of images from latents. The range of what they give is part of their type."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..arithmetic import ceil_div

Range = Literal["unit", "squashed", "standard", "learned"]
"""'unit': images in 0..1. 'squashed': the same, of zero mean and unit variance before the last tanh.
'standard': zero mean and unit variance per channel, as a normalised batch is.
'learned': the same at first, then with the mean and deviation that training gives it; no bound."""


class EnlargingConv2d(nn.Conv2d):
    """A 3x3 convolution of its input enlarged to `size` by nearest neighbours, parameters as of the convolution.

    Where `size` is twice the input, both are one transposed convolution with a 4x4 kernel, exactly, borders included:
    each output pixel is made of 4 input pixels instead of 9 copies of them, at 4/9 of the cost.
    """

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:  # type: ignore[override]
        """x (B, C, H, W) -> (B, C', *size)."""
        if size != (2 * x.shape[2], 2 * x.shape[3]):
            return super().forward(F.interpolate(x, size))
        kernel = F.pad(self.weight.transpose(0, 1).flip(2, 3), (1, 1, 1, 1))
        kernel = kernel[:, :, 1:] + kernel[:, :, :-1]
        kernel = kernel[:, :, :, 1:] + kernel[:, :, :, :-1]
        return F.conv_transpose2d(x, kernel, self.bias, stride=2, padding=1)


class UpsamplingGenerator(nn.Module):
    """Linear -> three convolutions over two nearest-neighbour doublings: the generator of the whole lineage.

    latents (B, Z) -> images (B, C, H, W). `width` is the channels of the last hidden layer; the papers use 64.
    DAFL: range 'standard' (tanh, then BatchNorm without parameters), norm_eps 0.8, biased convolutions.
    DFAD: the same with norm_eps 1e-5.
    ZSKT: range 'learned' (BatchNorm with parameters, no tanh), norm_eps 1e-5, biased convolutions.
    FM, NAYER: range 'unit' (sigmoid), norm_eps 1e-5, unbiased convolutions.
    DFME: range 'squashed' (BatchNorm without parameters, then tanh), norm_eps 1e-5, biased convolutions.
    """

    def __init__(
        self,
        latent: int,
        shape: Sequence[int],
        width: int = 64,
        range: Range = "unit",
        norm_eps: float = 1e-5,
        conv_bias: bool = False,
    ) -> None:
        super().__init__()
        channels, height, width_px = shape
        self.range: Range = range
        self.sizes = [(ceil_div(height, 2), ceil_div(width_px, 2)), (height, width_px)]
        self.start = (2 * width, ceil_div(height, 4), ceil_div(width_px, 4))
        self.project = nn.Linear(latent, self.start[0] * self.start[1] * self.start[2])
        self.norm0 = nn.BatchNorm2d(2 * width)
        self.conv1 = EnlargingConv2d(2 * width, 2 * width, 3, padding=1, bias=conv_bias)
        self.norm1 = nn.BatchNorm2d(2 * width, eps=norm_eps)
        self.conv2 = EnlargingConv2d(2 * width, width, 3, padding=1, bias=conv_bias)
        self.norm2 = nn.BatchNorm2d(width, eps=norm_eps)
        self.to_image = nn.Conv2d(width, channels, 3, padding=1)
        self.standardise = None if range == "unit" else nn.BatchNorm2d(channels, affine=range == "learned")

    def forward(self, latents: Tensor) -> Tensor:
        return self.grow(self.project(latents).unflatten(1, self.start))

    def grow(self, maps: Tensor) -> Tensor:
        """The first maps (B, 2 * width, h, w) to images."""
        x = self.to_image(self.hidden(maps))
        if self.standardise is None:
            return x.sigmoid()
        if self.range == "squashed":
            return squash(self.standardise(x))
        return self.standardise(x.tanh() if self.range == "standard" else x)

    def hidden(self, maps: Tensor) -> Tensor:
        """The last hidden layer, (B, width, H, W)."""
        x = self.norm0(maps)
        x = F.leaky_relu(self.norm1(self.conv1(x, self.sizes[0])), 0.2)
        return F.leaky_relu(self.norm2(self.conv2(x, self.sizes[1])), 0.2)

    def before_squash(self, latents: Tensor) -> Tensor:
        """Of range 'squashed': what `squash` makes images of, (B, C, H, W) of zero mean and unit variance."""
        assert self.standardise is not None
        return self.standardise(self.to_image(self.hidden(self.project(latents).unflatten(1, self.start))))


SQUASH_SLOPE = 0.5
"""The largest slope of `squash`."""


def squash(points: Tensor) -> Tensor:
    """Any numbers onto 0..1: (1 + tanh) / 2."""
    return (1 + points.tanh()) / 2


class TransposedGenerator(nn.Module):
    """Linear -> four transposed convolutions that double the size -> images: DFAD's generator B, after DCGAN.

    latents (B, Z) -> images (B, C, H, W) in 0..1: the released tanh goes from black to white, for images that are
    normalised by a half and a half. `width` is the channels of the last hidden layer; the first has eight times as
    many. Weights are drawn from N(0, 0.02), those of BatchNorm from N(1, 0.02), biases are 0, as released. Sizes that
    are no multiple of 16 are cut out of the next one.
    """

    range: Range = "unit"

    def __init__(self, latent: int, shape: Sequence[int], width: int = 64) -> None:
        super().__init__()
        channels, height, width_px = shape
        self.size = (height, width_px)
        widths = [8 * width, 4 * width, 2 * width, width, width]
        self.start = (widths[0], ceil_div(height, 16), ceil_div(width_px, 16))
        self.project = nn.Linear(latent, widths[0] * self.start[1] * self.start[2])
        self.norm = nn.BatchNorm2d(widths[0])
        self.doublings = nn.Sequential(*(
            nn.Sequential(nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.2))
            for a, b in pairwise(widths)
        ))  # fmt: skip
        self.to_image = nn.Conv2d(width, channels, 3, padding=1)
        for part in self.modules():
            if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.BatchNorm2d)):
                nn.init.normal_(part.weight, float(isinstance(part, nn.BatchNorm2d)), 0.02)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)

    def forward(self, latents: Tensor) -> Tensor:
        x = self.norm(self.project(latents).unflatten(1, self.start))
        images = squash(self.to_image(self.doublings(x)))
        return images[:, :, : self.size[0], : self.size[1]]


class ConditionalGenerator(UpsamplingGenerator):
    """latents (B, Z + K), noise beside a one-hot label -> images; each of the two fills half of the first maps.

    FedFTG's released generator: range 'standard', biased convolutions, norm_eps 1e-5.
    """

    def __init__(self, latent: int, classes: int, shape: Sequence[int], width: int = 64) -> None:
        super().__init__(latent, shape, width, "standard", conv_bias=True)
        pixels = self.start[1] * self.start[2]
        self.latent = latent
        self.project = nn.Linear(latent, width * pixels)
        self.project_label = nn.Linear(classes, width * pixels)

    def forward(self, latents: Tensor) -> Tensor:
        noise, label = latents[:, : self.latent], latents[:, self.latent :]
        return self.grow(torch.cat([self.project(noise), self.project_label(label)], 1).unflatten(1, self.start))
