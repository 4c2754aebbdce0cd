"""The variational autoencoder of FairDisCo (Liu et al., KDD 2022) for pictures: the encoder sees the picture alone, the
decoder its latent and the group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .fair_vae import LOGVAR

WIDTHS = (32, 32, 64, 64)
"""Channels of the convolutions that halve a picture (released)."""
LAST, HIDDEN = 256, 64
"""Width behind them (released), and of the layer that tells the class (ours)."""
LEAST = 4
"""Pixels of the shorter side below which nothing is halved any more."""
KERNEL: dict[str, Any] = {"kernel_size": 4, "stride": 2, "padding": 1}


def sizes_of(height: int, width: int) -> list[tuple[int, int]]:
    """Of the maps, the picture first.

    Deviation: the released network is of 64 x 64 pixels. One of smaller pictures halves them as often as leaves four
    pixels or less on a side, with as many of its convolutions.
    """
    sizes = [(height, width)]
    while len(sizes) <= len(WIDTHS) and min(sizes[-1]) > LEAST:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    return sizes


class PictureEncoder(nn.Module):
    """Pictures (B, C, H, W) in 0..1 -> mean and log-variance of a Gaussian latent, both (B, Z)."""

    def __init__(self, shape: Sequence[int], latent: int) -> None:
        super().__init__()
        channels, height, width = shape
        sizes, layers, before = sizes_of(height, width), [], channels
        for wide in WIDTHS[: len(sizes) - 1]:
            layers += [nn.Conv2d(before, wide, **KERNEL), nn.ReLU()]
            before = wide
        self.layers = nn.Sequential(
            *layers, nn.Conv2d(before, LAST, sizes[-1]), nn.ReLU(), nn.Conv2d(LAST, 2 * latent, 1)
        )

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        mean, logvar = self.layers(pictures).flatten(1).chunk(2, 1)
        return mean, logvar.clamp(*LOGVAR)


class PictureDecoder(nn.Module):
    """Latents (B, Z) and groups (B,) int64 -> logits of pictures (B, C, H, W): the encoder's layers the other way."""

    def __init__(self, shape: Sequence[int], groups: int, latent: int) -> None:
        super().__init__()
        channels, height, width = shape
        self.groups, sizes = groups, sizes_of(height, width)
        widths = [channels, *WIDTHS[: len(sizes) - 1]]
        layers: list[nn.Module] = [nn.Conv2d(latent + groups, LAST, 1), nn.ReLU()]
        layers.append(nn.ConvTranspose2d(LAST, widths[-1], sizes[-1]))
        for place in reversed(range(1, len(sizes))):
            odd = tuple(large - 2 * small for large, small in zip(sizes[place - 1], sizes[place]))
            layers += [
                nn.ReLU(), nn.ConvTranspose2d(widths[place], widths[place - 1], **KERNEL, output_padding=odd)  # type: ignore[arg-type]
            ]  # fmt: skip
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: Tensor, groups: Tensor) -> Tensor:
        return self.layers(with_group(latents, groups, self.groups)[:, :, None, None])


class FairImageVAE(nn.Module):
    """Both, and what tells the class (B, K) from the latent and the group.

    Deviation: the released networks for pictures know no class. As the label of a table is its last column, it is
    decoded here beside the picture, so that something can be trained on what was made.
    """

    def __init__(self, shape: Sequence[int], groups: int, classes: int, latent: int = 10) -> None:
        super().__init__()
        self.encoder = PictureEncoder(shape, latent)
        self.decoder = PictureDecoder(shape, groups, latent)
        self.label = nn.Sequential(nn.Linear(latent + groups, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes))

    def tell(self, latents: Tensor, groups: Tensor) -> Tensor:
        """Logits (B, K) of the class."""
        return self.label(with_group(latents, groups, self.decoder.groups))


class LatentPictures(nn.Module):
    """A small network that draws latents, before a decoder that is frozen: noise (B, Z) -> latents (B, Z); with a label
    (B,), the group that they are decoded for, pictures (B, C, H, W) in 0..1."""

    def __init__(self, draws: nn.Module, decoder: PictureDecoder) -> None:
        super().__init__()
        self.draws, self.decoder = draws, decoder.requires_grad_(False)

    def forward(self, noise: Tensor, label: Tensor | None = None) -> Tensor:
        latents = self.draws(noise)
        return latents if label is None else self.decoder(latents, label).sigmoid()


def with_group(latents: Tensor, groups: Tensor, count: int) -> Tensor:
    """(B, Z + G): the group one-hot behind the latent."""
    return torch.cat([latents, nn.functional.one_hot(groups, count).to(latents.dtype)], 1)
