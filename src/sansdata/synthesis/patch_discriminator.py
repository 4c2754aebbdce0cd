"""A discriminator of patches, its steps, and what it and a generator play for: MosaicKD's, which others borrow."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..contracts import Stateful
from ..method import Context

BETAS = (0.5, 0.999)
"""Of Adam on both sides (released)."""


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


class PatchAdversary:
    """A discriminator that learns beside a generator to tell its images from real ones."""

    def __init__(self, context: Context, width: int, lr: float) -> None:
        self.context = context
        with context.streams.as_global("discriminator", shared=True):
            discriminator = PatchDiscriminator(context.task.shape[0], width)
        self.discriminator = context.runtime.place(discriminator)
        self.optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=lr, betas=BETAS)

    def patches(self, images: Tensor) -> Tensor:
        """(B, h, w) logits of images (B, C, H, W) in unit space."""
        return self.discriminator(self.context.pixels(images))

    def step(self, real: Tensor, made: Tensor, weight: float = 1.0) -> Tensor:
        """One step on images that are real and images that are made; gives its loss, detached."""
        loss = weight * told_apart(self.patches(real), self.patches(made))
        loss.backward()
        self.context.runtime.step(self.optimizer)
        return loss.detach()

    def forget(self) -> None:
        """Drops the gradients that a generator's loss left on the way through it."""
        self.discriminator.zero_grad(set_to_none=True)

    def state(self) -> Mapping[str, Stateful]:
        return {"judge": self.discriminator, "judge_optimizer": self.optimizer}
