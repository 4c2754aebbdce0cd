"""DFME: data-free model extraction (Truong, Maini, Walls & Papernot, CVPR 2021, arXiv 2011.14779).

DFAD's game where the teacher is only asked: a generator looks for images on which student and teacher disagree, the
student learns them. The teacher's part of the generator's gradient is estimated from differences of its answers, at
what the generator gives before its last tanh, so that the points beside an image are images too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pydantic
import torch
from torch import Tensor

from ..config import Strict
from ..contracts import Access, Batch, Losses, OfGradient, Outputs, Questions, Requirements, Stateful
from ..method import Context
from ..models.generators import SQUASH_SLOPE, UpsamplingGenerator, squash
from ..models.modes import fixed
from ..objectives.estimate import estimated
from ..settings import EstimateSettings
from ..synthesis.adversary import questions_of_game
from ..synthesis.generator import Width, latents, make_generator
from ..synthesis.rounds import InRounds, Round, Schedule
from ..teachers.lending import calls_of_a_gradient, differences
from ..training.transfer import TransferSettings, set_lr


class DFMEConfig(Strict):
    """Defaults are the released CIFAR-10 values: cake-lab/datafree-model-extraction, dfme/train.py.

    student_gradient: 'exact' differentiates the student; 'estimated' (released) takes differences of the whole loss, at
    the same number of queries.
    """

    latent: int = pydantic.Field(default=256, ge=1)  # released
    width: Width = "auto"  # released: 64
    generator_lr: float = pydantic.Field(default=1e-4, gt=0)  # released; 5e-5 for SVHN
    student_steps: int = pydantic.Field(default=5, ge=1)  # released: d_iter
    estimate: EstimateSettings = EstimateSettings()  # released: one direction, a step of 1e-3
    student_gradient: Literal["exact", "estimated"] = "exact"  # ours
    steps: int = pydantic.Field(default=55_800, ge=1)  # released: 20 million queries, 7 batches in 5 steps
    transfer: TransferSettings = TransferSettings(
        lr=0.1, weight_decay=5e-4, schedule="step", milestones=(0.1, 0.3, 0.5), factor=0.3, batch=256, match="l1"
    )  # released


class DFME(InRounds):
    """One step of the generator, then student steps, each on a fresh batch."""

    Config: ClassVar[type] = DFMEConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Minutes on a CPU (ours): more directions of each image, since few of them average over a small batch.
        "small": {
            "latent": 100,
            "generator_lr": 1e-3,
            "estimate": {"directions": 4},
            "steps": 2000,
            "transfer": {"lr": 0.02, "weight_decay": 1e-4, "schedule": "cosine", "batch": 128},
        },
    }
    config: DFMEConfig

    @classmethod
    def requires(cls, config: DFMEConfig) -> Requirements:
        return Requirements(access=Access.SCORES)

    @classmethod
    def round_of(cls, config: DFMEConfig) -> Round:
        return Round(config.student_steps)

    @classmethod
    def questions(cls, config: DFMEConfig, steps: int, gradient: OfGradient) -> Questions:
        """In the paper's words: batch * (m + 1) an iteration for the generator, batch * d_iter for the student."""
        rounds = cls.plan(config, steps)["acquire"]
        return questions_of_game(config.transfer.batch, rounds, steps, calls_of_a_gradient(config.estimate))

    @classmethod
    def rehearsal(cls, config: DFMEConfig) -> DFMEConfig:
        return config.model_copy(update={"student_steps": 1})

    def __init__(self, config: DFMEConfig, context: Context) -> None:
        super().__init__(config, context)
        # Deviation: the generator's images are in 0..1, (1 + tanh) / 2, where the released ones are in -1..1 and given
        # to the teacher as they are; here its own preprocessing follows.
        generator = make_generator(context, config.latent, config.width, "squashed", conv_bias=True)
        assert isinstance(generator, UpsamplingGenerator)
        self.generator = generator
        self.optimizer = torch.optim.Adam(generator.parameters(), lr=config.generator_lr)
        teacher, size = context.teacher, torch.Size(context.task.shape).numel()
        self.how = differences(config.estimate, size, teacher.levels, SQUASH_SLOPE)
        self.schedule = Schedule(self.round_of(config))

    def acquire(self) -> Losses:
        config, context = self.config, self.context
        self.schedule.begin_steps()
        set_lr(self.optimizer, config.generator_lr * config.transfer.decay(context.progress.value))
        with context.runtime.autocast():
            points = self.generator.before_squash(self.codes()).float()
        with fixed(context.student):
            losses = Losses()
            value = self.disagreement(points)
            losses.add("disagreement", -1.0, lambda: value)
            losses.total().backward()
        context.runtime.step(self.optimizer)
        return losses

    def disagreement(self, points: Tensor) -> Tensor:
        """(B,) between student and teacher on the images of points (B, C, H, W), with a gradient in them."""
        stream, matching = self.context.streams("estimate"), self.config.transfer.matching
        if self.config.student_gradient == "exact":
            answers = estimated(self.asked, points, self.how, stream)
            return matching(self.context.student_outputs(squash(points)), Outputs(answers))

        def whole(points: Tensor) -> Tensor:
            return matching(self.context.student_outputs(squash(points)), Outputs(self.asked(points)))

        return estimated(whole, points, self.how, stream)

    def asked(self, points: Tensor) -> Tensor:
        """The teacher's answers (N, K) to the images of points (N, C, H, W)."""
        return self.context.teacher(squash(points)).logits

    def transfer_batch(self) -> Batch:
        self.schedule.end_step()
        return self.fresh()

    def fresh(self) -> Batch:
        """New images, with the teacher's answers."""
        return self.context.teach(self.made())

    @torch.no_grad()
    def made(self) -> Tensor:
        """New images (B, C, H, W)."""
        with self.context.runtime.autocast():
            images = squash(self.generator.before_squash(self.codes()).float())
        self.context.counters.add("samples", len(images))
        return images

    def codes(self) -> Tensor:
        return latents(self.config.transfer.batch, self.config.latent, self.context)

    def state(self) -> Mapping[str, Stateful]:
        return {"generator": self.generator, "optimizer": self.optimizer, "schedule": self.schedule}
