"""DFAD: data-free adversarial distillation (Fang et al. 2019, arXiv 1912.11006).

A generator looks for images on which student and teacher disagree, the student learns them. The disagreement is the
mean absolute error of the logits: unlike KL it keeps its gradient where the student has nearly caught up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pydantic

from ..contracts import PER_PIXEL_TOO, Batch, Losses, OfGradient, Questions, Requirements, Stateful
from ..method import Context
from ..models.generators import Range
from ..synthesis.adversary import Adversary, AdversarySettings
from ..synthesis.generator import Form
from ..synthesis.rounds import InRounds, Round, Schedule
from ..training.transfer import TransferSettings


class DFADConfig(AdversarySettings):
    """Defaults are the released CIFAR values; 'mnist' those of MNIST.

    "Released" is VainF/Data-Free-Adversarial-Distillation, commit c161591.
    """

    latent: int = pydantic.Field(default=256, ge=1)  # released
    output: Range = "standard"  # released
    student_steps: int = pydantic.Field(default=5, ge=1)  # k; released
    form: Form = "upsampling"  # released: A; 'transposed' is B, of the larger images and of segmentation
    bounded: bool = False  # -log(1 + disagreement) for the generator: released for segmentation alone
    steps: int = pydantic.Field(default=125_000, ge=1)  # released: 500 epochs of 50 rounds of 5
    transfer: TransferSettings = TransferSettings(
        lr=0.1, weight_decay=5e-4, schedule="step", milestones=(0.2, 0.4), batch=256, match="l1"
    )  # released: a tenth at epochs 100 and 200


class DFAD(InRounds):
    """Student steps, each on a fresh batch, then one step of the generator against the student."""

    Config: ClassVar[type] = DFADConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Minutes on a CPU (ours): the released MNIST values with a smaller batch and rates that fall to nought.
        "small": {
            "latent": 100,
            "steps": 2000,
            "transfer": {"lr": 0.01, "weight_decay": 1e-4, "schedule": "cosine", "batch": 128},
        },
        "mnist": {
            "latent": 100,
            "steps": 10_000,
            "transfer": {"lr": 0.01, "weight_decay": 1e-4, "schedule": "constant", "batch": 512},
        },
        # For masks, minutes on a CPU (ours). What is released for them, form=transposed and bounded=true without `bn`,
        # fell onto one class at every pixel; held to the teacher's statistics the generator does not.
        "segmentation": {
            "latent": 64,
            "bn": 1.0,
            "steps": 1000,
            "transfer": {
                "optimizer": "adam", "lr": 3e-3, "weight_decay": 0.0, "schedule": "cosine", "batch": 16, "match": "l1",
            },
        },
    }  # fmt: skip
    config: DFADConfig

    @classmethod
    def requires(cls, config: DFADConfig) -> Requirements:
        return replace(config.requirements, outputs=PER_PIXEL_TOO)

    @classmethod
    def round_of(cls, config: DFADConfig) -> Round:
        return Round(config.student_steps, warmup=-1)  # the student begins

    @classmethod
    def questions(cls, config: DFADConfig, steps: int, gradient: OfGradient) -> Questions | None:
        rounds = cls.plan(config, steps)["acquire"]
        return config.questions(config.transfer.batch, rounds, steps, gradient)

    @classmethod
    def rehearsal(cls, config: DFADConfig) -> DFADConfig:
        return config.model_copy(update={"student_steps": 1})

    def __init__(self, config: DFADConfig, context: Context) -> None:
        super().__init__(config, context)
        self.adversary = Adversary(context, config, config.form)
        self.schedule = Schedule(self.round_of(config))
        self.schedule.begin_steps()  # on images of the generator as it is made

    def transfer_batch(self) -> Batch:
        self.schedule.end_step()
        return self.adversary.batch(self.adversary.codes(self.config.transfer.batch))

    def acquire(self) -> Losses:
        transfer = self.config.transfer
        self.schedule.begin_steps()
        return self.adversary.step(
            self.adversary.codes(transfer.batch), transfer.matching, bounded=self.config.bounded,
            decay=transfer.decay(self.context.progress.value),
        )  # fmt: skip

    def state(self) -> Mapping[str, Stateful]:
        return {**self.adversary.state(), "schedule": self.schedule}
