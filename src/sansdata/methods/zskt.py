"""ZSKT: zero-shot knowledge transfer via adversarial belief matching (Micaelli & Storkey, NeurIPS 2019, 1905.09768).

A generator looks for images on which the student's belief differs most from the teacher's; the student is then
taught several times on exactly these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic

from ..contracts import Batch, Forward, Losses, OfGradient, Outputs, Questions, Requirements, Stateful
from ..method import Context
from ..models.generators import Range
from ..synthesis.adversary import Adversary, AdversarySettings
from ..synthesis.rounds import InRounds, Round, Schedule
from ..training.transfer import TransferSettings


class ZSKTConfig(AdversarySettings):
    """Defaults are the released CIFAR-10 values. The attention term is the engine's: features.attention=250.

    "Released" is polo5/ZeroShotKnowledgeTransfer, commit e24915d.
    """

    latent: int = pydantic.Field(default=100, ge=1)  # released
    output: Range = "learned"  # released
    generator_clip: float | None = pydantic.Field(default=5.0, gt=0)  # released
    student_steps: int = pydantic.Field(default=10, ge=1)  # n_S; paper
    steps: int = pydantic.Field(default=800_000, ge=1)  # paper: 80,000 pseudo-batches of 10
    transfer: TransferSettings = TransferSettings(
        optimizer="adam", lr=2e-3, weight_decay=0.0, batch=128, match="kl", temperature=1.0, clip=5.0
    )  # released


class ZSKT(InRounds):
    """A step of the generator, then student steps on the images that the same latents give now."""

    Config: ClassVar[type] = ZSKTConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Minutes on a CPU (ours): the paper's values, shorter.
        "small": {"steps": 4000},
    }  # fmt: skip
    config: ZSKTConfig

    @classmethod
    def requires(cls, config: ZSKTConfig) -> Requirements:
        return config.requirements

    @classmethod
    def round_of(cls, config: ZSKTConfig) -> Round:
        return Round(config.student_steps)

    @classmethod
    def questions(cls, config: ZSKTConfig, steps: int, gradient: OfGradient) -> Questions | None:
        rounds = cls.plan(config, steps)["acquire"]
        return config.questions(config.transfer.batch, rounds, rounds, gradient)

    @classmethod
    def rehearsal(cls, config: ZSKTConfig) -> ZSKTConfig:
        return config.model_copy(update={"student_steps": 1})

    def __init__(self, config: ZSKTConfig, context: Context) -> None:
        super().__init__(config, context)
        self.adversary = Adversary(context, config)
        # The released KL is a mean over batch and classes, that of `objectives.logits` a sum over classes. Adam does
        # not see the difference, but the clip at 5 and the attention term's weight of 250 are meant for the mean.
        self.match_scale = 1 / context.task.classes if config.transfer.match == "kl" else 1.0
        self.schedule = Schedule(self.round_of(config))

    def acquire(self) -> Losses:
        config, transfer = self.config, self.config.transfer
        codes = self.adversary.codes(transfer.batch)
        losses = self.adversary.step(
            codes,
            transfer.matching,
            self.match_scale,
            transfer.decay(self.context.progress.value),
            config.generator_clip,
        )
        self._remember(self.adversary.batch(codes))
        return losses

    def _remember(self, batch: Batch) -> None:
        """Images and answers are the same in all of the student's steps, so they are made once."""
        answers = batch.answers()
        self.schedule.values |= {
            "images": batch.images, "weights": batch.weights, "logits": answers.logits, "taps": answers.taps,
        }  # fmt: skip
        self.schedule.begin_steps()

    def transfer_batch(self) -> Batch:
        pseudo = self.schedule
        pseudo.end_step()
        answers = Outputs(pseudo["logits"], pseudo["taps"])
        return Batch(pseudo["images"], teacher_outputs=answers, weights=pseudo["weights"])

    def student_loss(self, student: Forward, batch: Batch) -> Losses:
        losses = Losses()
        outputs = student(batch.images)
        losses.add("match", self.match_scale, lambda: self.config.transfer.matching(outputs, batch.answers()))
        return losses

    def state(self) -> Mapping[str, Stateful]:
        return {**self.adversary.state(), "pseudo": self.schedule}
