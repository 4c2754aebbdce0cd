"""DFMS-HL: towards data-free model stealing in a hard-label setting (Sanyal, Addepalli & Babu, CVPR 2022,
arXiv 2204.11022).

A generator learns to draw like a pool of unrelated images, and at the same time to draw what the student takes for
every class alike. The teacher's labels of its images teach the student.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch
from torch import Tensor

from ..config import Strict
from ..contracts import Access, Batch, Forward, Losses, OfGradient, Questions, Requirements, Stateful
from ..method import Context
from ..models.modes import fixed
from ..objectives.class_priors import evenness
from ..objectives.logits import hard_cross_entropy
from ..synthesis.generator import Width, images_from, latents, make_generator
from ..synthesis.given import pool_of
from ..synthesis.patch_discriminator import BETAS, PatchAdversary, looks_real
from ..synthesis.rounds import InRounds, Round, Schedule
from ..training.transfer import TransferSettings


class DFMSConfig(Strict):
    """Defaults are the released values (val-iisc/Hard-Label-Model-Stealing) where they are known, else ours.

    even: weight of the evenness of the student's classes. pooled: share of a student's batch that is of the pool.
    """

    latent: int = pydantic.Field(default=100, ge=1)  # released
    width: Width = "auto"  # ours
    judge_width: int = pydantic.Field(default=64, ge=1)  # released, of DCGAN's
    generator_lr: float = pydantic.Field(default=2e-4, gt=0)  # released
    even: float = pydantic.Field(default=500.0, ge=0)  # released, beside one verdict an image
    pooled: float = pydantic.Field(default=0.0, ge=0, lt=1)  # ours
    student_steps: int = pydantic.Field(default=1, ge=1)  # released
    steps: int = pydantic.Field(default=62_500, ge=1)  # paper: 8 million queries
    transfer: TransferSettings = TransferSettings(lr=0.1, weight_decay=5e-4, batch=128, temperature=1.0)  # ours


class DFMS(InRounds):
    """A step of the discriminator and one of the generator, then student steps on labels of new images."""

    Config: ClassVar[type] = DFMSConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Minutes on a CPU (ours).
        "small": {"judge_width": 16, "generator_lr": 1e-3, "steps": 2000, "transfer": {"lr": 0.02}},
    }
    config: DFMSConfig

    @classmethod
    def requires(cls, config: DFMSConfig) -> Requirements:
        return Requirements(access=Access.LABELS, pool=True)

    @classmethod
    def round_of(cls, config: DFMSConfig) -> Round:
        return Round(config.student_steps)

    @classmethod
    def questions(cls, config: DFMSConfig, steps: int, gradient: OfGradient) -> Questions:
        return Questions({config.transfer.batch: steps})

    @classmethod
    def rehearsal(cls, config: DFMSConfig) -> DFMSConfig:
        return config.model_copy(update={"student_steps": 1})

    def __init__(self, config: DFMSConfig, context: Context) -> None:
        super().__init__(config, context)
        self.generator = make_generator(context, config.latent, config.width, "unit")
        # Deviation: MosaicKD's discriminator of patches, where the release has DCGAN's, which is made for one size. Its
        # verdicts on an image are summed, so that an `even` of 500 weighs beside them as 8 would beside one verdict.
        self.adversary = PatchAdversary(context, config.judge_width, config.generator_lr)
        self.optimizer = torch.optim.Adam(self.generator.parameters(), lr=config.generator_lr, betas=BETAS)
        self.schedule = Schedule(self.round_of(config))

    def acquire(self) -> Losses:
        config, context = self.config, self.context
        self.schedule.begin_steps()
        images, losses = self._images(config.transfer.batch), Losses()
        verdicts = self.adversary.step(self._pooled(len(images), "pool"), images.detach())
        with fixed(context.student):
            logits = context.student_outputs(images).logits
            losses.add("real", 1.0, lambda: looks_real(self.adversary.patches(images)))
            losses.add("even", config.even, lambda: evenness(logits))
            losses.total().backward()
        self.adversary.forget()
        context.runtime.step(self.optimizer)
        losses.add("judge", 1.0, lambda: verdicts)  # for the log: its step is made, this loss is not stepped on
        return losses

    def _pooled(self, count: int, stream: str) -> Tensor:
        """Images of the pool, drawn evenly with replacement."""
        context = self.context
        ids = torch.randint(len(pool_of(context)), (count,), generator=context.streams(stream))
        return context.runtime.place(pool_of(context).at(ids))

    def _images(self, count: int) -> Tensor:
        self.context.counters.add("samples", count)
        return images_from(self.generator, latents(count, self.config.latent, self.context), self.context)

    def transfer_batch(self) -> Batch:
        config = self.config
        self.schedule.end_step()
        of_pool = round(config.pooled * config.transfer.batch)
        with torch.no_grad():
            images = self._images(config.transfer.batch - of_pool)
        if of_pool:
            images = torch.cat([images, self._pooled(of_pool, "student-pool")])
        return self.context.teach(images)

    def student_loss(self, student: Forward, batch: Batch) -> Losses:
        losses, teacher = Losses(), batch.answers().logits
        logits = student(batch.inputs).logits
        losses.add("ce", 1.0, lambda: hard_cross_entropy(logits, teacher))
        return losses

    def state(self) -> Mapping[str, Stateful]:
        own = {"generator": self.generator, "optimizer": self.optimizer, "schedule": self.schedule}
        return {**own, **self.adversary.state()}
