"""Generators in one step: a network that goes from noise and a share of the way to the signal of a trajectory there."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from ...errors import StudentError
from .denoiser import Denoiser, ask, preconditioned, to_clean
from .schedules import Schedule, beside
from .steerable import Steerable

STRENGTH_WIDTH = 256
"""Numbers in which guidance is told, as in the library's scripts for consistency models."""


class OneStep(Steerable):
    """A denoiser's network, always given the state at the time where it starts, the last unless it was told of others,
    and as its time the one that is wanted. At the share 1 of its way it gives what the denoiser sees in pure noise.

    A network that gives the noise is read as one that gives the sample: to divide by what is left of the signal at the
    last time would make its errors many times as large. Such a student must be warmed up.
    """

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.of = denoiser
        self.prediction = "sample" if denoiser.prediction == "epsilon" else denoiser.prediction
        self.starts_at_teacher = self.prediction == denoiser.prediction and denoiser.guidance == 1

    @classmethod
    def copying(cls, denoiser: Denoiser) -> OneStep:
        """With a copy of the denoiser's weights, which may learn."""
        return cls(copy.deepcopy(denoiser).requires_grad_(True).train())

    @property
    def schedule(self) -> Schedule:
        return self.of.schedule

    @property
    def strength_width(self) -> int:
        return STRENGTH_WIDTH

    def strength_condition(self, guidance: Tensor) -> Tensor:
        """Of guidance - 1: the library counts from the answer to the label itself."""
        half = STRENGTH_WIDTH // 2
        rates = torch.exp(-math.log(10_000) / (half - 1) * torch.arange(half, device=guidance.device))
        phases = 1000 * (guidance[:, None] - 1) * rates
        return torch.cat([phases.sin(), phases.cos()], 1)

    def take_condition(self, entries: int) -> None:
        network = self.of.network
        if not hasattr(network, "take_condition"):
            raise StudentError(
                f"the teacher's network ({type(network).__name__}) cannot be told where it starts or how strongly it "
                "is guided. Take point-net or picture-net as the student, or give the network of the Denoiser a "
                "method take_condition(entries) and an argument 'condition'"
            )
        network.take_condition(entries)  # type: ignore[operator]

    def signal(
        self, noise: Tensor, time: Tensor, label: Tensor | None, start: Tensor | None, condition: Tensor | None
    ) -> Tensor:
        schedule = self.schedule
        first = torch.full_like(time, float(schedule.last)) if start is None else schedule.at(start)
        state = noise * (schedule.scale if start is None else beside(schedule.size(first), noise))
        goal = schedule.at(time)
        alpha, sigma = beside(schedule.alpha(first), state), beside(schedule.sigma(first), state)
        inner = state
        if self.prediction == "edm":
            inner, _ = preconditioned(state, sigma, self.of.deviation)
            goal = schedule.sigma(goal).log() / 4
        answer = ask(self.of.network, inner, goal, label if self.of.labels else None, condition)
        return to_clean(self.prediction, answer, state, alpha, sigma, self.of.deviation)
