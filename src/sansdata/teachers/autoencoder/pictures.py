"""The autoencoder of pictures as its owner hands it over, and pictures with a class that are decoded of latents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Generator, Tensor

from ...models.device import device_of
from ...models.fair_image_vae import FairImageVAE
from .base import Bank, LatentSource, Moments
from .decoding import Rule, groups_for

AT_ONCE = 500


@dataclass
class PictureAutoEncoder(LatentSource):
    """shape: (C, H, W). names: of the groups, and class_names: of the classes. group_shares: of each group among the
    real pictures. provenance: how it was trained, as its owner wrote it."""

    vae: FairImageVAE
    shape: tuple[int, int, int]
    names: tuple[str, ...]
    class_names: tuple[str, ...]
    group_shares: tuple[float, ...]
    latent: int = 10
    moments: Moments | None = None
    bank: Bank | None = None
    source: str = "made in Python"
    provenance: Mapping[str, Any] = field(default_factory=dict)

    columns: tuple[str, ...] = ()
    """A picture has none that could be a proxy."""

    @cached_property
    def shares(self) -> Tensor:
        return torch.tensor(self.group_shares)

    @torch.no_grad()
    def sampled(self, pictures: Tensor, stream: Generator) -> Tensor:
        """(N, Z) draws of the latents of pictures (N, C, H, W) in 0..1, on the CPU."""
        device = device_of(self.vae)
        halves = [self.vae.encoder(part.to(device)) for part in pictures.split(AT_ONCE)]
        mean, logvar = (torch.cat(side).cpu() for side in zip(*halves))
        return mean + (logvar / 2).exp() * torch.randn(mean.shape, generator=stream)

    @torch.no_grad()
    def pictures(self, latents: Tensor, groups: Tensor) -> Tensor:
        """(N, C, H, W) in 0..1 on the CPU."""
        device = device_of(self.vae)
        parts = zip(latents.split(AT_ONCE), groups.split(AT_ONCE))
        return torch.cat([self.vae.decoder(one.to(device), group.to(device)).sigmoid().cpu() for one, group in parts])

    @torch.no_grad()
    def classes(self, latents: Tensor, groups: Tensor) -> Tensor:
        """(N, K) the probability of each class, on the CPU."""
        device = device_of(self.vae)
        return self.vae.tell(latents.to(device), groups.to(device)).softmax(1).cpu()

    def cycled(self, count: int, stream: Generator) -> tuple[Tensor, Tensor]:
        groups = torch.multinomial(self.shares, count, replacement=True, generator=stream)
        made = self.pictures(torch.randn(count, self.latent, generator=stream), groups)
        return self.sampled(made, stream), groups


@dataclass(frozen=True)
class MadePictures:
    """images uint8 (N, H, W, C), the class (N,) and the group (N,) of each."""

    images: Tensor
    labels: Tensor
    groups: Tensor


def decoded_pictures(model: PictureAutoEncoder, latents: Tensor, rule: Rule, stream: Generator) -> MadePictures:
    """A picture for each latent (N, Z), of the group that `rule` says; under 'neutral' its class is drawn from the mean
    over the groups by share."""
    groups = groups_for(model, latents, rule, stream)
    if rule.name == "neutral":
        each = [
            share * model.classes(latents, torch.full_like(groups, group))
            for group, share in enumerate(model.shares.tolist())
        ]
        classes = torch.stack(each).sum(0)
    else:
        classes = model.classes(latents, groups)
    labels = torch.multinomial(classes, 1, generator=stream).squeeze(1)
    pictures = model.pictures(latents, groups).mul(255).round().to(torch.uint8)
    return MadePictures(pictures.permute(0, 2, 3, 1).contiguous(), labels, groups)
