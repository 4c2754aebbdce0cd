"""Worlds of fair autoencoders, which draw or decode latents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from ...kinds.inputs.table_bins import TableBins
from ...models.fair_image_vae import FairImageVAE
from ...models.fair_vae import FairVAE
from ...teachers import autoencoder
from ...teachers.autoencoder import PictureAutoEncoder
from ...teachers.autoencoder.base import AutoEncoder, Moments, Sensitive
from ...teachers.autoencoder.students import before_decoder
from ...teachers.base import Teacher
from .base import World
from .tasks import CLASSES, make_table_task

LATENT = 5


def make_autoencoder(seed: int = 0) -> AutoEncoder:
    """Of the tiny table, whose colours are in two groups; it has learnt nothing."""
    task = make_table_task()
    bins = {
        "size": ((-2.0, 0.0), (0.0, 0.0), (0.5, 6.0)), "count": ((0.0, 4.0), (4.0, 9.0)),
        "doubt": ((0.0, 0.5), (0.5, 1.0)),
    }  # fmt: skip
    groups = Sensitive(
        column="colour", groups=(("red",), ("green", "blue")), names=("red", "others"), shares=(0.5, 0.3, 0.2)
    )
    coded = TableBins(task, "colour", bins)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = FairVAE(sum(coded.sizes), 2, LATENT, 12)
        factors = torch.randn(2, LATENT, LATENT).tril(-1) * 0.2 + torch.eye(LATENT)
        moments = Moments(torch.tensor([0.25, 0.75]), torch.randn(2, LATENT), factors)
    return AutoEncoder(vae.eval().requires_grad_(False), coded, groups, 1, moments)


@dataclass(frozen=True)
class LatentsWorld(World):
    """A teacher that draws latents: a fair autoencoder of the tiny table."""

    small: ClassVar[str] = "latent-mlp-small"

    def teacher(self) -> Teacher:
        return autoencoder.teacher_of(make_autoencoder(), self.task)

    def student(self) -> nn.Module:
        return self.module(1.0, seed=1)

    def save(self, path: Path) -> None:
        autoencoder.save_autoencoder(path, make_autoencoder())

    def spec(self, path: Path) -> str:
        return str(path)


def make_picture_autoencoder(seed: int = 0) -> PictureAutoEncoder:
    """Of pictures of 8 x 8 in two groups; it has learnt nothing, but its pictures differ."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = FairImageVAE((1, 8, 8), 2, CLASSES, LATENT)
        with torch.no_grad():
            for part in vae.decoder.layers:
                if hasattr(part, "weight"):
                    part.weight.mul_(3)  # type: ignore[operator, union-attr]
        moments = Moments(torch.tensor([0.25, 0.75]), torch.randn(2, LATENT), torch.eye(LATENT).repeat(2, 1, 1))
    names = tuple(f"class {number}" for number in range(CLASSES))
    return PictureAutoEncoder(
        vae.eval().requires_grad_(False), (1, 8, 8), ("red", "others"), names, (0.4, 0.6), LATENT, moments
    )


@dataclass(frozen=True)
class DecodedWorld(World):
    """A teacher that decodes latents into pictures of a group, and a student that draws latents before that decoder."""

    small: ClassVar[str] = "latents:latent-mlp-small"

    def teacher(self) -> Teacher:
        return autoencoder.picture_teacher_of(make_picture_autoencoder(), self.task)

    def module(self, scale: float = 1.0, seed: int = 0) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return before_decoder(self.small, self.teacher())[0]

    def save(self, path: Path) -> None:
        autoencoder.save_picture_autoencoder(path, make_picture_autoencoder())

    def spec(self, path: Path) -> str:
        return str(path)
