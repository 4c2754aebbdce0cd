"""Training of the fair autoencoder on real rows: what a data owner does before anything leaves the house."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import pydantic
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ..config import Strict
from ..kinds.inputs.table_bins import TableBins
from ..models.fair_vae import FairVAE
from ..objectives.dependence import DEPENDENCE
from ..streams import Streams
from .vae import normal_kl


class FairVAESettings(Strict):
    """Of the autoencoder and its training. weight: of the dependence between latent and group, in the terms of its
    form: the distribution covariance of 8-dimensional latents is about 1e-6, the two others are in 0..1."""

    latent: int = pydantic.Field(default=8, ge=1, le=1024)  # released (FairDisCo)
    hidden: int = pydantic.Field(default=64, ge=1, le=4096)  # released
    bins: int = pydantic.Field(default=8, ge=2, le=1024)  # released
    dependence: Literal["distribution-cov", "dcor", "hsic"] = "dcor"
    weight: float = pydantic.Field(default=4.0, ge=0)
    epochs: int = pydantic.Field(default=20, ge=1)
    batch: int = pydantic.Field(default=512, ge=8)
    lr: float = pydantic.Field(default=2e-3, gt=0)


def train_fair_vae(bins: TableBins, codes: Tensor, groups: Tensor, settings: FairVAESettings, seed: int) -> FairVAE:
    """From real rows as `codes` (N, columns + 1) of `bins` and groups (N,) int64; the last epoch, in eval mode.

    The loss is that of FairDisCo: the cross entropy of every column, the divergence of the latent from a standard
    normal one, and the dependence of latent and group. Deviation: the last batch of an epoch is left out where it is
    short, while the released code weighs its penalty by its share.
    """
    streams, count = Streams(seed), int(groups.max()) + 1
    with streams.as_global("teacher"):
        module = FairVAE(sum(bins.sizes), count, settings.latent, settings.hidden)
    penalty = DEPENDENCE[settings.dependence]
    rows, members = bins.one_hot(codes), F.one_hot(groups, count).float()

    def loss_on(ids: Tensor, noise: Generator) -> Tensor:
        mean, logvar = module.encode(rows[ids], members[ids])
        drawn = mean + (logvar / 2).exp() * torch.randn(mean.shape, generator=noise)
        heads = bins.heads(module.decode(drawn, members[ids]))
        loss = normal_kl(mean, logvar).mean()
        for place, logits in enumerate(heads):
            loss = loss + F.cross_entropy(logits, codes[ids, place])
        if settings.weight:
            loss = loss + settings.weight * penalty(mean, logvar, groups[ids])
        return loss

    learn(module, len(codes), loss_on, settings, streams)
    return module.eval().requires_grad_(False)


class Pace(Protocol):
    """How long and how fast an autoencoder learns."""

    epochs: int
    batch: int
    lr: float


def learn(
    module: nn.Module, count: int, loss_on: Callable[[Tensor, Generator], Tensor], pace: Pace, streams: Streams
) -> None:
    """Trains on `count` samples in batches of one size: what is left over at the end of an epoch is left out. loss_on:
    from the places (B,) of a batch, and the stream of its latents' noise."""
    optimizer, batch = torch.optim.Adam(module.parameters(), pace.lr), min(pace.batch, count)
    for epoch in range(pace.epochs):
        streams.begin(epoch)
        order, noise = torch.randperm(count, generator=streams("order")), streams("latents")
        for ids in order.split(batch):
            if len(ids) < batch:
                continue
            loss = loss_on(ids, noise)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
