"""Generators in one step: a network that goes from noise and a share of the way to the signal of a trajectory there."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from .denoiser import Denoiser, ask, preconditioned, to_clean
from .schedules import Schedule, beside


class OneStep(nn.Module):
    """A denoiser's network, always given the state at the last time, and as its time the one that is wanted.

    Noise (B, *shape) of unit variance, and a label (B,) where it takes one, -> the sample (B, *shape). time: (B,) the
    share of the way, 0..1, at which the trajectory's signal is wanted instead; 0 is the sample, 1 what the denoiser
    sees in pure noise.

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

    def forward(self, noise: Tensor, time: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        schedule = self.schedule
        share = torch.zeros(noise.shape[0], device=noise.device) if time is None else time
        last = torch.full_like(share, float(schedule.last))
        state = noise * schedule.scale
        wanted = schedule.at(share)
        alpha, sigma = beside(schedule.alpha(last), state), beside(schedule.sigma(last), state)
        inner = state
        if self.prediction == "edm":
            inner, _ = preconditioned(state, sigma, self.of.deviation)
            wanted = schedule.sigma(wanted).log() / 4
        answer = ask(self.of.network, inner, wanted, label if self.of.labels else None)
        return to_clean(self.prediction, answer, state, alpha, sigma, self.of.deviation)
