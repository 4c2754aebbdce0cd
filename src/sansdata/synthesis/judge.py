"""A discriminator that sees patches, and what it and a generator play for: MosaicKD's, which others borrow."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """Images (B, C, H, W), normalised -> (B, h, w) logits, one an overlapping patch of 10x10 pixels: high is real.

    The released one, a convolutional discriminator that sees patches only (Isola et al. 2017).
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 1, 1, bias=False),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)[:, 0]


def looks_real(patches: Tensor) -> Tensor:
    """(B,) sum over patches of -log sigmoid: low where an image's patches pass for real (MosaicKD, eq. 3)."""
    return F.softplus(-patches.float()).flatten(1).sum(1)


def told_apart(real: Tensor, made: Tensor) -> Tensor:
    """A scalar, half of -log sigmoid(real) - log(1 - sigmoid(made)), each summed over an image's patches and averaged
    over images: the discriminator's loss."""
    everything = torch.stack([looks_real(real).mean(), looks_real(-made).mean()])
    return everything.mean()
