"""NAYER: noisy layer data generation for data-free knowledge distillation (Tran et al., CVPR 2024, arXiv 2310.00258).

The generator's input is a constant embedding of each class, which says what an image is to show; what makes images of
one class differ is a linear layer behind it, drawn anew for every batch and trained with the generator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch
from torch import Tensor, nn

from ..arithmetic import ceil_div
from ..config import Strict
from ..contracts import Stateful
from ..method import Context
from ..models.embeddings import class_embeddings
from ..models.initial_weights import draw_default
from ..synthesis.augment import Augment
from ..synthesis.calls import CallRounds
from ..synthesis.generator import Width
from ..synthesis.labels import class_blocks
from ..training.transfer import TransferSettings


class NAYERConfig(Strict):
    """Defaults are the released CIFAR-10 values of 100 rounds. A call makes one batch; a round is several calls.

    "Released" is tmtuan1307/NAYER, commit c6bedcd.
    """

    embeddings: str | None = None  # ours: orthonormal; the paper's are those of CLIP for the classes' names
    latent: int = pydantic.Field(default=1000, ge=1)  # released
    width: Width = "auto"  # released: 64
    redraw: bool = True  # off: the ablation, one noisy layer for the whole run
    iterations: int = pydantic.Field(default=30, ge=1)  # a call; released, 40 for CIFAR-100
    chunk: int = pydantic.Field(default=10, ge=1)  # iterations a move: ours
    generator_lr: float = pydantic.Field(default=4e-3, gt=0)  # released
    batch: int = pydantic.Field(default=400, ge=2)  # images a call; released
    bn: float = pydantic.Field(default=10.0, ge=0)  # released
    bn_momentum: float = pydantic.Field(default=0.9, ge=0, lt=1)  # released
    ce: float = pydantic.Field(default=0.5, ge=0)  # released
    adversarial: float = pydantic.Field(default=1.33, ge=0)  # released
    generator_life: int = pydantic.Field(default=10, ge=1)  # rounds; released
    warmup_rounds: int = pydantic.Field(default=20, ge=0)  # rounds without student steps; released
    warmup_calls: int = pydantic.Field(default=10, ge=1)  # calls in each of these; released
    calls: int = pydantic.Field(default=2, ge=1)  # calls in each further round; released
    steps_per_round: int = pydantic.Field(default=400, ge=1)  # released
    pool: int = pydantic.Field(default=160_000, ge=1)  # released: (20 x 10 + 100 x 2) calls of 400 images
    view: Augment = "crop+flip"  # released
    steps: int = pydantic.Field(default=40_000, ge=1)  # released: 100 rounds of 400
    transfer: TransferSettings = TransferSettings(lr=0.2, lr_end=2e-4, temperature=20.0, batch=512)  # released


class NAYER(CallRounds):
    """Calls whose generator is given the classes' embeddings through a noisy layer that is drawn anew for each.

    Deviation: the released code compares the losses of a round's second call with the lowest of its first, so that it
    may keep the first, untrained images of the second; here each call keeps its own best.
    """

    config: NAYERConfig

    Config: ClassVar[type] = NAYERConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Minutes on a CPU (ours): as many generator steps for a student step as FM's rounds have, in longer calls, in
        # which a layer drawn anew has time to be learnt; the generator stays.
        "small": {
            "latent": 256, "iterations": 15, "batch": 256, "bn": 2.0, "bn_momentum": 0.0, "ce": 1.0,
            "generator_life": 1000, "warmup_rounds": 1, "warmup_calls": 2, "calls": 1, "steps_per_round": 120,
            "steps": 1000, "transfer": {"batch": 128},
        },
    }  # fmt: skip

    def __init__(self, config: NAYERConfig, context: Context) -> None:
        super().__init__(config, context)
        stream = context.streams("embeddings", shared=True)
        embeddings = class_embeddings(config.embeddings, context.task.classes, stream)
        self.noisy = NoisyLayer(embeddings, config.batch, config.latent)
        self.noisy.redraw(context.streams("noise"))
        context.runtime.place(self.noisy)
        self.optimizer = self._new_optimizer()

    def _new_optimizer(self) -> torch.optim.Optimizer:
        learns = [*self.noisy.parameters(), *self.generator.parameters()]
        return torch.optim.Adam(learns, lr=self.config.generator_lr, betas=(0.5, 0.999))

    def begin_call(self) -> Tensor:
        """The same classes in every call, in order: a linear layer then meets each class once."""
        config, context = self.config, self.context
        age = self.schedule["round"] - config.warmup_rounds
        if self.schedule["calls"] == 0 and age % config.generator_life == 0:
            with context.streams.as_global("generator"):
                self.renew()
        if config.redraw:
            self.noisy.redraw(context.streams("noise"))
        # Adam's moments would be those of weights that were drawn anew: each call begins without any.
        self.optimizer = self._new_optimizer()
        return class_blocks(config.batch, context.task.classes, context.streams("labels"))

    def renew(self) -> None:
        """Draws the weights of the generator and of what lies before it anew, from the global generator."""
        draw_default(self.generator)
        draw_default(self.noisy)

    def codes(self) -> Tensor:
        return self.noisy.train()(self.loop.targets)

    def state(self) -> Mapping[str, Stateful]:
        return {"noisy": self.noisy, **super().state()}


class NoisyLayer(nn.Module):
    """Labels -> latents: constant class embeddings, BatchNorm, and linear layers whose weights are the randomness.

    embeddings (K, D), batch B, latent Z: labels (B,) int64 -> latents (B, Z). One linear layer serves K consecutive
    samples, so there are ceil(B / K) of them; with labels in class order a layer sees every class once.
    """

    embeddings: Tensor

    def __init__(self, embeddings: Tensor, batch: int, latent: int) -> None:
        super().__init__()
        classes, size = embeddings.shape
        self.share = classes
        layers = ceil_div(batch, classes)
        self.register_buffer("embeddings", embeddings.float())
        self.norm = nn.BatchNorm1d(size)
        self.weight = nn.Parameter(torch.zeros(layers, size, latent))
        self.bias = nn.Parameter(torch.zeros(layers, latent))

    def redraw(self, generator: torch.Generator) -> None:
        """Weights N(0, 1) from a CPU generator, biases 0; the BatchNorm stays as it is."""
        with torch.no_grad():
            self.weight.copy_(torch.randn(self.weight.shape, generator=generator))
            self.bias.zero_()

    def forward(self, labels: Tensor) -> Tensor:
        codes = self.norm(self.embeddings[labels])
        empty = len(self.weight) * self.share - len(codes)  # places that the last layer has to spare
        groups = nn.functional.pad(codes, (0, 0, 0, empty)).unflatten(0, (len(self.weight), self.share))
        return torch.baddbmm(self.bias[:, None], groups, self.weight).flatten(0, 1)[: len(codes)]
