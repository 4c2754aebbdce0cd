"""Training of the fair autoencoder of pictures on real ones: what an owner does before anything leaves the house."""

from __future__ import annotations

from typing import Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..config import Strict
from ..models.fair_image_vae import FairImageVAE
from ..objectives.dependence import DEPENDENCE
from ..streams import Streams
from .fair_vae import learn
from .vae import normal_kl


class FairImageVAESettings(Strict):
    """Of the autoencoder and its training. weight: of the dependence between latent and group, beside a loss that is
    the sum over all pixels: some hundreds for the two that are in 0..1. label: of the class's cross entropy."""

    latent: int = pydantic.Field(default=10, ge=1, le=1024)  # released (FairDisCo)
    dependence: Literal["distribution-cov", "dcor", "hsic"] = "dcor"
    weight: float = pydantic.Field(default=300.0, ge=0)  # ours; released: 1e7 of distribution-cov
    label: float = pydantic.Field(default=10.0, ge=0)  # ours
    epochs: int = pydantic.Field(default=20, ge=1)  # ours
    batch: int = pydantic.Field(default=128, ge=8)  # ours
    lr: float = pydantic.Field(default=1e-3, gt=0)  # released


def train_fair_image_vae(
    pictures: Tensor, labels: Tensor, groups: Tensor, classes: int, settings: FairImageVAESettings, seed: int
) -> FairImageVAE:
    """From real pictures uint8 (N, C, H, W), their classes and groups (N,) int64; the last epoch, in eval mode.

    The loss is FairDisCo's: the binary cross entropy of every pixel, in sum, the divergence of the latent from a
    standard normal one, and the dependence of latent and group; beside them the class's cross entropy. Deviation: the
    last batch of an epoch is left out where it is short.
    """
    streams, count = Streams(seed), int(groups.max()) + 1
    _, channels, height, width = pictures.shape
    with streams.as_global("teacher"):
        module = FairImageVAE((channels, height, width), count, classes, settings.latent)
    penalty = DEPENDENCE[settings.dependence]

    def loss_on(ids: Tensor, noise: Generator) -> Tensor:
        seen, group = pictures[ids].float().div(255), groups[ids]
        mean, logvar = module.encoder(seen)
        drawn = mean + (logvar / 2).exp() * torch.randn(mean.shape, generator=noise)
        made = module.decoder(drawn, group)
        loss = F.binary_cross_entropy_with_logits(made, seen, reduction="sum") / len(ids)
        loss = loss + normal_kl(mean, logvar).mean()
        if settings.label:
            loss = loss + settings.label * F.cross_entropy(module.tell(drawn, group), labels[ids])
        if settings.weight:
            loss = loss + settings.weight * penalty(mean, logvar, group)
        return loss

    learn(module, len(pictures), loss_on, settings, streams)
    return module.eval().requires_grad_(False)
