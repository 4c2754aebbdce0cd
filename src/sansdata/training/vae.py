"""The variational autoencoder of PRE-DFKD (Binici et al., AAAI 2022, 2201.03019), which replays what it was shown."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ..arithmetic import ceil_div
from ..models.generators import UpsamplingGenerator


class Encoder(nn.Module):
    """normalised images (B, C, H, W) -> mean and log-variance (B, Z) of a Gaussian code.

    Three convolutions at falling resolution, then one linear head each. `width` is the channels of the first; the
    released code has 64. Each image column is scaled to unit length first, as there.
    """

    def __init__(self, latent: int, shape: Sequence[int], width: int = 64) -> None:
        super().__init__()
        channels, height, width_px = shape
        halves = _half((height, width_px))
        self.sizes = [halves, _half((ceil_div(halves[0], 2), ceil_div(halves[1], 2)))]
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(width, eps=0.8)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(2 * width, eps=0.8)
        self.conv3 = nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1)
        self.norm3 = nn.BatchNorm2d(2 * width)
        features = 2 * width * self.sizes[1][0] * self.sizes[1][1]
        self.mean = nn.Linear(features, latent)
        self.log_variance = nn.Linear(features, latent)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = F.normalize(images, dim=2)
        x = F.leaky_relu(self.norm1(self.conv1(x)), 0.2)
        x = F.leaky_relu(self.norm2(self.conv2(x)), 0.2)
        x = self.norm3(self.conv3(F.interpolate(x, self.sizes[0])))
        x = F.interpolate(x, self.sizes[1]).flatten(1)
        return self.mean(x), self.log_variance(x)


class VAE(nn.Module):
    """Encoder and decoder; the decoder is DAFL's generator, codes (B, Z) -> images of range 'standard'.

    Deviation: weights start as torch has them, not evenly in -0.08..0.08: BatchNorm follows each but the last.
    """

    def __init__(self, latent: int, shape: Sequence[int], width: int = 64) -> None:
        super().__init__()
        self.encoder = Encoder(latent, shape, width)
        self.decoder = UpsamplingGenerator(latent, shape, width, "standard", norm_eps=0.8, conv_bias=True)


def _half(size: tuple[int, int]) -> tuple[int, int]:
    return max(1, size[0] // 2), max(1, size[1] // 2)


def normal_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """(B,) KL(N(mean, variance) || N(0, I)), both (B, Z) (Kingma & Welling 2014, appendix B)."""
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(1)
