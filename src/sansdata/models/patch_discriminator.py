"""Which patches of an image look like those of given images (the discriminator of MosaicKD, Fang et al. 2021)."""

from __future__ import annotations

from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """Images (B, C, H, W), normalised -> (B, h, w) logits, one for each overlapping patch of 7x7 pixels: high is real.

    A convolutional discriminator that sees patches only (Isola et al. 2017); the released layers were not read, these
    are ours. No normalisation: a patch must not be told by what else is in its batch.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 3, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 1, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)[:, 0]
