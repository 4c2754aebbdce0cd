"""MosaicKD: mosaicking to distill (Fang et al., NeurIPS 2021), after the losses of its released code.

Images of unrelated things hold patches that ours are made of. A generator makes images whose patches a discriminator
cannot tell from those of the pool, while the teacher sees one of its classes in the whole; the student learns them, and
as many of the pool's own beside them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch
from torch import Tensor

from ..config import Strict
from ..contracts import Access, Batch, Losses, Requirements, Stateful
from ..method import Context
from ..models.modes import fixed
from ..objectives import class_priors
from ..objectives.logits import entropy, kl
from ..synthesis.augment import Augment, augment
from ..synthesis.generator import Width, images_from, latents, make_generator
from ..synthesis.given import pool_of, random_share
from ..synthesis.patch_discriminator import BETAS, PatchAdversary, looks_real
from ..synthesis.rounds import InRounds, Round, Schedule
from ..training.transfer import TransferSettings, set_lr


class MosaicKDConfig(Strict):
    """Defaults are those of the released recipe for a CIFAR-100 teacher with CIFAR-10 as the pool.

    "Released" is zju-vipa/MosaicKD, kd_mosaic.py and engine/models/generator.py, commit a8d8e2c.
    """

    share: float = pydantic.Field(default=1.0, gt=0, le=1)  # of the pool, drawn at random once; ours
    latent: int = pydantic.Field(default=100, ge=1)  # released
    width: Width = "auto"  # ours
    patch_width: int = pydantic.Field(default=128, ge=1)  # channels of the discriminator's first layer; released
    generator_lr: float = pydantic.Field(default=1e-3, gt=0)  # released --lr_g
    adversarial: float = pydantic.Field(default=1.0, ge=0)  # released --adv
    align: float = pydantic.Field(default=1.0, ge=0)  # released --align
    local: float = pydantic.Field(default=1.0, ge=0)  # released --local
    balance: float = pydantic.Field(default=10.0, ge=0)  # released --balance
    student_steps: int = pydantic.Field(default=5, ge=1)  # released
    with_pool: bool = True  # the student also learns as many of the pool's images; released
    view: Augment = "crop+flip"  # of these; released
    steps: int = pydantic.Field(default=196_000, ge=1)  # released: 200 epochs of 196 rounds of 5
    transfer: TransferSettings = TransferSettings(
        lr=0.1, weight_decay=1e-4, schedule="cosine", batch=256, temperature=1.0
    )  # released


class MosaicKD(InRounds):
    """A step of the discriminator and one of the generator, then student steps, each on a fresh batch."""

    Config: ClassVar[type] = MosaicKDConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Minutes on a CPU (ours).
        "small": {
            "patch_width": 16,
            "generator_lr": 3e-3,
            "student_steps": 2,
            "steps": 1400,
            "transfer": {"batch": 128, "temperature": 20.0},
        },
    }
    config: MosaicKDConfig

    @classmethod
    def requires(cls, config: MosaicKDConfig) -> Requirements:
        return Requirements(access=Access.GRADIENTS, pool=True)

    @classmethod
    def round_of(cls, config: MosaicKDConfig) -> Round:
        return Round(config.student_steps)

    @classmethod
    def rehearsal(cls, config: MosaicKDConfig) -> MosaicKDConfig:
        return config.model_copy(update={"student_steps": 1})

    def __init__(self, config: MosaicKDConfig, context: Context) -> None:
        super().__init__(config, context)
        self.ids = random_share(context, config.share)
        self.generator = make_generator(context, config.latent, config.width, "unit")
        self.optimizer = torch.optim.Adam(self.generator.parameters(), lr=config.generator_lr, betas=BETAS)
        self.adversary = PatchAdversary(context, config.patch_width, config.generator_lr)
        self.schedule = Schedule(self.round_of(config))

    def acquire(self) -> Losses:
        config, context = self.config, self.context
        decay = config.transfer.decay(context.progress.value)
        for optimizer in (self.optimizer, self.adversary.optimizer):
            set_lr(optimizer, config.generator_lr * decay)
        images = self._images()
        judged = self.adversary.step(self._pooled(len(images), "pool"), images.detach(), config.local)
        outputs = context.teacher(images)
        losses = context.acquire_losses(images, outputs)
        losses.add("disagreement", -config.adversarial, lambda: self._disagreement(images, outputs.logits))
        losses.add("align", config.align, lambda: entropy(outputs.logits.softmax(1)))
        losses.add("local", config.local, lambda: looks_real(self.adversary.patches(images)))
        losses.add("balance", config.balance, lambda: class_priors.evenness(outputs.logits) / math.log(2))  # in bits
        losses.total().backward()
        self.adversary.forget()
        context.runtime.step(self.optimizer)
        losses.add("judge", 1, lambda: judged)  # for the log: its step is made, this loss is not stepped on
        self.schedule.begin_steps()
        return losses

    def _images(self) -> Tensor:
        config, context = self.config, self.context
        context.counters.add("samples", config.transfer.batch)
        return images_from(self.generator, latents(config.transfer.batch, config.latent, context), context)

    def _pooled(self, count: int, stream: str) -> Tensor:
        """Images of the share of the pool, drawn evenly with replacement."""
        context = self.context
        ids = self.ids[torch.randint(len(self.ids), (count,), generator=context.streams(stream))]
        return context.runtime.place(pool_of(context).at(ids))

    def _disagreement(self, images: Tensor, teacher: Tensor) -> Tensor:
        """(B,) KL from the teacher to the student, which runs in train mode as in the other adversarial methods."""
        with fixed(self.context.student, train=True):
            return kl(self.context.student_outputs(images).logits, teacher)

    def transfer_batch(self) -> Batch:
        context, config = self.context, self.config
        self.schedule.end_step()
        with torch.no_grad():
            images = self._images()
        if config.with_pool:
            pooled = self._pooled(len(images), "student-pool")
            images = torch.cat([images, augment(pooled, config.view, context.streams("view"))])
            context.counters.add("samples", len(pooled))
        return context.teach(images)

    def state(self) -> Mapping[str, Stateful]:
        own = {"generator": self.generator, "optimizer": self.optimizer, "schedule": self.schedule}
        return {**own, **self.adversary.state()}
