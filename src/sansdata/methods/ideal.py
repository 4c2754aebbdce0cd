"""IDEAL: query-efficient data-free learning from black-box models (Zhang, Chen & Lyu, ICLR 2023).

The teacher gives labels alone, and is asked about each image once. A new generator is trained every round for a few
steps against the student only: each of its codes is to become an image of one class, as many of every class, that the
student is not sure of. Its images go into a pool with the teacher's labels, and the student learns the whole pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch
from torch import Tensor

from ..config import Strict
from ..contracts import Access, Batch, Forward, Losses, OfGradient, Questions, Requirements, Stateful
from ..memory import Pool
from ..method import Context
from ..models.initial_weights import draw_normal
from ..models.modes import fixed
from ..objectives.logits import cross_entropy, entropy, hard_cross_entropy
from ..synthesis.augment import augment
from ..synthesis.generator import Width, images_from, latents, make_generator
from ..synthesis.rounds import PooledRounds, Round, Schedule
from ..training.transfer import TransferSettings

BETAS = (0.5, 0.999)
"""Of the generator's Adam (released)."""


class IDEALConfig(Strict):
    """Defaults are the released values (SonyResearch/IDEAL at 45bf95c) where it has them, else ours.

    images: made and asked about in a round. generator_steps: of the new generator. unsure: weight of the mean of
    p ln p over images and classes, which asks for answers that are not sure. again: the student sees images of the pool
    cut and flipped, and the teacher is asked anew about every batch, as in the released loop.
    """

    latent: int = pydantic.Field(default=256, ge=1)  # released
    width: Width = "auto"  # ours
    images: int = pydantic.Field(default=250, ge=2)  # released
    generator_steps: int = pydantic.Field(default=30, ge=1)  # released; 5 on CIFAR-10
    generator_lr: float = pydantic.Field(default=1e-3, gt=0)  # released
    unsure: float = pydantic.Field(default=5.0, ge=0)  # released
    again: bool = False  # paper: once; released: again
    pool: int = pydantic.Field(default=100_000, ge=1)  # ours
    steps_per_round: int = pydantic.Field(default=40, ge=1)  # ours
    steps: int = pydantic.Field(default=4000, ge=1)  # released: 100 rounds; of 40, ours
    transfer: TransferSettings = TransferSettings(
        lr=0.01, weight_decay=5e-4, schedule="constant", batch=250, temperature=1.0
    )  # released

    @property
    def view(self) -> str:
        """How pooled images are seen: as they are stored, so that their answers can be kept, or each time otherwise."""
        return "crop+flip" if self.again else "none"


class IDEAL(PooledRounds):
    """A new generator and its images, then student steps on everything that was asked so far."""

    Config: ClassVar[type] = IDEALConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Minutes on a CPU (ours).
        "small": {"latent": 100, "steps": 2000, "transfer": {"batch": 128, "lr": 0.02, "schedule": "cosine"}},
    }
    config: IDEALConfig

    @classmethod
    def requires(cls, config: IDEALConfig) -> Requirements:
        return Requirements(access=Access.LABELS)

    @classmethod
    def round_of(cls, config: IDEALConfig) -> Round:
        return Round(config.steps_per_round)

    @classmethod
    def questions(cls, config: IDEALConfig, steps: int, gradient: OfGradient) -> Questions:
        if config.again:
            return Questions({config.transfer.batch: steps})
        return Questions({config.images: cls.plan(config, steps)["acquire"]})

    @classmethod
    def rehearsal(cls, config: IDEALConfig) -> IDEALConfig:
        return config.model_copy(update={"steps_per_round": 1})

    def __init__(self, config: IDEALConfig, context: Context) -> None:
        super().__init__(config, context)
        self.generator = make_generator(context, config.latent, config.width, "unit")
        self.pool = Pool(config.pool)
        self.schedule = Schedule(self.round_of(config))

    def acquire(self) -> Losses:
        """Nothing of a generator outlives its round. Codes and classes are one to one from its first step to its last:
        a generator without a class to be told could not obey otherwise. The images of its best step are kept."""
        config, context = self.config, self.context
        self.schedule.begin_steps()
        with context.streams.as_global("generator", shared=True):
            draw_normal(self.generator)
        optimizer = torch.optim.Adam(self.generator.parameters(), lr=config.generator_lr, betas=BETAS)
        codes, targets = latents(config.images, config.latent, context), self._classes()
        losses, lowest, best = Losses(), float("inf"), torch.empty(0)
        with fixed(context.student):
            for _ in range(config.generator_steps):
                images, losses = images_from(self.generator, codes, context), Losses()
                views = augment(images, "crop+flip", context.streams("view"))
                logits = context.student_outputs(views).logits
                losses.add("ce", 1.0, lambda: cross_entropy(logits, targets))  # noqa: B023 - called at once
                losses.add("unsure", config.unsure, lambda: sureness(logits))  # noqa: B023
                total = losses.total()
                if not len(best) or float(total.detach()) < lowest:
                    lowest, best = float(total.detach()), images.detach()
                total.backward()
                # Not runtime.step: every rank has a generator of its own, there is nothing to average.
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
        self.keep(best, targets.cpu())
        return losses

    def _classes(self) -> Tensor:
        """(n,) class numbers, all alike often."""
        return (torch.arange(self.config.images) % self.context.task.classes).to(self.context.runtime.device)

    def student_loss(self, student: Forward, batch: Batch) -> Losses:
        losses, teacher = Losses(), batch.answers().logits
        logits = student(batch.inputs).logits
        losses.add("ce", 1.0, lambda: hard_cross_entropy(logits, teacher))
        return losses

    def state(self) -> Mapping[str, Stateful]:
        return {"generator": self.generator, "pool": self.pool, "schedule": self.schedule}


def sureness(logits: Tensor) -> Tensor:
    """(B,) mean of p ln p over the classes of logits (B, K): lowest, -ln K / K, where every class is as likely."""
    return -entropy(logits.softmax(1)) / logits.shape[1]
