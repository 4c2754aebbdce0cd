"""DS: dual students (Beetham, Kardan, Mian & Shah, ICLR 2023, arXiv 2309.10058).

Nobody differentiates the teacher: a generator looks for images on which two students disagree, whose gradients are
exact, and the teacher only answers for the batches that both then learn. Labels will do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pydantic
import torch
from torch import Tensor, nn

from ..config import Strict
from ..contracts import Access, Batch, Forward, Losses, OfGradient, Outputs, Questions, Requirements, Stateful
from ..method import Context
from ..models.copying import duplicate
from ..models.initial_weights import draw_everything
from ..models.modes import fixed
from ..models.pair import Pair
from ..objectives.logits import hard_cross_entropy, l1
from ..synthesis.generator import Width, images_from, latents, make_generator
from ..synthesis.replay import Replay, asked_in
from ..synthesis.rounds import InRounds, Round, Schedule
from ..training.transfer import TransferSettings, set_lr


class DualStudentsConfig(Strict):
    """Defaults are the released CIFAR-10 values, DFME's where the release is built on it.

    answers: 'scores' are matched, of 'labels' the cross-entropy is taken. replay_steps, replay: as in `maze`.
    """

    latent: int = pydantic.Field(default=256, ge=1)  # released, DFME's
    width: Width = "auto"  # released: 64
    generator_lr: float = pydantic.Field(default=1e-4, gt=0)  # released, DFME's
    student_steps: int = pydantic.Field(default=5, ge=1)  # released, DFME's
    answers: Literal["scores", "labels"] = "scores"
    replay_steps: int = pydantic.Field(default=0, ge=0)  # released: none
    replay: int = pydantic.Field(default=1_000_000, ge=1)
    steps: int = pydantic.Field(default=78_000, ge=1)  # paper: 20 million queries
    transfer: TransferSettings = TransferSettings(
        lr=0.3, weight_decay=5e-4, schedule="step", milestones=(0.1, 0.3, 0.5), factor=0.3, batch=256, match="l1"
    )  # released: 0.3, the rest DFME's


class DualStudents(InRounds):
    """A step of the generator against both students, then steps of both. The first is the one that is kept.

    Deviation: as it is; the release scores a moving average of it, stepped every tenth round, and picks the best.
    """

    Config: ClassVar[type] = DualStudentsConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Minutes on a CPU (ours).
        "small": {
            "latent": 100,
            "generator_lr": 1e-3,
            "steps": 2000,
            "transfer": {"lr": 0.02, "weight_decay": 1e-4, "schedule": "cosine", "batch": 128},
        },
    }
    config: DualStudentsConfig

    @classmethod
    def requires(cls, config: DualStudentsConfig) -> Requirements:
        return Requirements(access=Access.SCORES if config.answers == "scores" else Access.LABELS)

    @classmethod
    def round_of(cls, config: DualStudentsConfig) -> Round:
        return Round(config.student_steps + config.replay_steps)

    @classmethod
    def questions(cls, config: DualStudentsConfig, steps: int, gradient: OfGradient) -> Questions:
        return Questions({config.transfer.batch: asked_in(steps, config.student_steps, config.replay_steps)})

    @classmethod
    def rehearsal(cls, config: DualStudentsConfig) -> DualStudentsConfig:
        again = round(2 * config.replay_steps / config.student_steps)  # as many of both, so that a step costs the same
        return config.model_copy(update={"student_steps": 2, "replay_steps": again})

    def __init__(self, config: DualStudentsConfig, context: Context) -> None:
        super().__init__(config, context)
        self.generator = make_generator(context, config.latent, config.width, "squashed", conv_bias=True)
        self.optimizer = torch.optim.Adam(self.generator.parameters(), lr=config.generator_lr)
        self.replay = Replay(context, config.replay)
        self.schedule = Schedule(self.round_of(config))

    def build_student(self, student: nn.Module) -> nn.Module:
        """With a second one of the same architecture and other first weights beside it."""
        second = duplicate(student)
        with self.context.streams.as_global("second-student", shared=True):
            draw_everything(second)
        self.pair = self.context.runtime.place(Pair(student, second))
        return self.pair

    def acquire(self) -> Losses:
        config, context = self.config, self.context
        self.schedule.begin_steps()
        set_lr(self.optimizer, config.generator_lr * config.transfer.decay(context.progress.value))
        images = images_from(self.generator, self.codes(), context)
        losses = Losses()
        with fixed(self.pair):
            network = context.network.around(self.pair)
            both = context.runtime.forward(network, images, counters=context.counters, name="student")
            self.add_terms(losses, *both.logits.chunk(2))
            losses.total().backward()
        context.runtime.step(self.optimizer)
        return losses

    def add_terms(self, losses: Losses, first: Tensor, second: Tensor) -> None:
        """What the generator plays for; logits (B, K) of both students on its images."""
        losses.add("disagreement", -1.0, lambda: l1(first, second))

    def transfer_batch(self) -> Batch:
        config = self.config
        asks = self.schedule["transfers_left"] > config.replay_steps
        self.schedule.end_step()
        if not asks:
            return self.replay.draw(config.transfer.batch)
        # Deviation: the release puts the generator into eval mode here. With a few hundred steps of it, whose running
        # statistics lag behind, that costs: docs/methods/dual-students.md.
        with torch.no_grad():
            images = images_from(self.generator, self.codes(), self.context)
        self.context.counters.add("samples", len(images))
        return self.replay.ask(images) if config.replay_steps else self.context.teach(images)

    def codes(self) -> Tensor:
        return latents(self.config.transfer.batch, self.config.latent, self.context)

    def student_loss(self, student: Forward, batch: Batch) -> Losses:
        """Of each student its own; neither sees the other."""
        losses, teacher = Losses(), batch.answers()
        first, second = student(batch.inputs).logits.chunk(2)
        losses.add("match", 1.0, lambda: self._apart(first, teacher))
        losses.add("second", 1.0, lambda: self._apart(second, teacher))
        return losses

    def _apart(self, student: Tensor, teacher: Outputs) -> Tensor:
        if self.config.answers == "labels":
            return hard_cross_entropy(student, teacher.logits)
        return self.config.transfer.matching(Outputs(student), teacher)

    def state(self) -> Mapping[str, Stateful]:
        return {
            "generator": self.generator, "optimizer": self.optimizer, "replay": self.replay.pool,
            "schedule": self.schedule,
        }  # fmt: skip
