"""MAZE: model stealing by zeroth-order gradient estimation (Kariyappa, Prakash & Qureshi, CVPR 2021, arXiv 2005.03161).

DFME's game with KL and more directions, and with experience replay: between the rounds the student learns again what
the teacher has answered before, which costs no query.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch

from ..contracts import Batch, OfGradient, Questions, Stateful
from ..memory import Slot
from ..method import Context
from ..models.generators import squash
from ..settings import EstimateSettings
from ..synthesis.adversary import questions_of_game
from ..synthesis.replay import Replay, asked_in
from ..synthesis.rounds import Round
from ..teachers.lending import calls_of_a_gradient
from ..training.transfer import TransferSettings
from .dfme import DFME, DFMEConfig


class MAZEConfig(DFMEConfig):
    """Defaults are the paper's. replay_steps: student steps a round on what was answered before; 0 keeps nothing.
    replay: images that are kept for them."""

    estimate: EstimateSettings = EstimateSettings(directions=10)  # paper: m = 10, a step of 1e-3
    replay_steps: int = pydantic.Field(default=10, ge=0)  # paper: N_R
    replay: int = pydantic.Field(default=1_000_000, ge=1)  # ours; paper: everything
    steps: int = pydantic.Field(default=39_000, ge=1)  # paper: 5 million queries for Fashion-MNIST
    transfer: TransferSettings = TransferSettings(
        lr=0.1, weight_decay=5e-4, batch=128, match="kl", temperature=1.0
    )  # paper: SGD at 0.1, a cosine


class MAZE(DFME):
    """A step of the generator; student steps, the first on the batch of that step; student steps on old answers.

    Deviation: DFME's generator and its Adam, where the release (sanjaykariyappa/MAZE at d202ace)
    learns the scale of the last BatchNorm and steps SGD; and every new batch but the first of a round is kept, where
    the release keeps the last.
    """

    Config: ClassVar[type] = MAZEConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Minutes on a CPU (ours).
        "small": {
            "latent": 100,
            "generator_lr": 1e-3,
            "replay": 200_000,
            "steps": 3000,
            "transfer": {"lr": 0.02, "weight_decay": 1e-4, "batch": 128},
        },
    }
    config: MAZEConfig

    @classmethod
    def round_of(cls, config: MAZEConfig) -> Round:
        return Round(config.student_steps + config.replay_steps)

    @classmethod
    def questions(cls, config: MAZEConfig, steps: int, gradient: OfGradient) -> Questions:
        """In the paper's words: batch * ((N_C - 1) + (1 + m) * N_G) an iteration."""
        rounds = cls.plan(config, steps)["acquire"]
        batches = asked_in(steps, config.student_steps, config.replay_steps) - rounds
        return questions_of_game(config.transfer.batch, rounds, batches, calls_of_a_gradient(config.estimate))

    @classmethod
    def rehearsal(cls, config: MAZEConfig) -> MAZEConfig:
        again = round(2 * config.replay_steps / config.student_steps)  # as many of both, so that a step costs the same
        return config.model_copy(update={"student_steps": 2, "replay_steps": again})

    def __init__(self, config: MAZEConfig, context: Context) -> None:
        super().__init__(config, context)
        self.replay = Replay(context, config.replay)
        self.asked_already = Slot(points=None, answers=None)

    def disagreement(self, points: torch.Tensor) -> torch.Tensor:
        self.asked_already["points"], self.asked_already["answers"] = points.detach(), None
        return super().disagreement(points)

    def asked(self, points: torch.Tensor) -> torch.Tensor:
        answers = super().asked(points)
        if self.asked_already["answers"] is None:  # the first question of a move is about its own images
            self.asked_already["answers"] = answers.detach()
        return answers

    def transfer_batch(self) -> Batch:
        config, left = self.config, self.schedule["transfers_left"]
        self.schedule.end_step()
        if left == config.student_steps + config.replay_steps:
            return self._asked_by_the_generator()
        if left > config.replay_steps:
            return self.replay.ask(self.made()) if config.replay_steps else self.fresh()
        return self.replay.draw(config.transfer.batch)

    def _asked_by_the_generator(self) -> Batch:
        # Deviation: these are not kept for replay. A stored image is rounded to 8 bits, and its answers would have to
        # be asked anew.
        images, answers = squash(self.asked_already["points"]), self.asked_already["answers"]
        self.asked_already["points"] = self.asked_already["answers"] = None
        self.context.counters.add("samples", len(images))
        return self.context.teach(images, answers=answers)

    def state(self) -> Mapping[str, Stateful]:
        return {**super().state(), "replay": self.replay.pool, "asked_already": self.asked_already}
