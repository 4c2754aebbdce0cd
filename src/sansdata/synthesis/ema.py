"""MAD: a slow copy of the generator remembers what the generator has left behind (Do et al., NeurIPS 2022, 2209.10359).

For methods that teach from fresh batches. Those that teach from a pool already remember.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import pydantic
import torch

from ..config import Strict
from ..contracts import Batch, Stateful
from ..method import Context
from .generator import Generator, images_from, latents


class EMASettings(Strict):
    """rate: share of the copy that stays at each generator step. weight: lambda of the copy's samples; 0 is off."""

    rate: float = pydantic.Field(default=0.95, ge=0, lt=1)
    weight: float = pydantic.Field(default=0.0, ge=0)


class EMAGenerator:
    """The exponential moving average of a generator's parameters, sampled in train mode like the generator itself."""

    def __init__(self, settings: EMASettings, generator: Generator, latent: int) -> None:
        self.settings, self.latent = settings, latent
        self.copy = copy.deepcopy(generator).requires_grad_(False) if settings.weight else None

    @torch.no_grad()
    def follow(self, generator: Generator) -> None:
        """After each step of the generator: copy <- rate * copy + (1 - rate) * generator."""
        if self.copy is None:
            return
        for slow, fast in zip(self.copy.parameters(), generator.parameters()):
            slow.lerp_(fast, 1 - self.settings.rate)

    def join(self, batch: Batch, context: Context) -> Batch:
        """The batch (B, C, H, W), and as many images of the copy behind it, from latents of their own.

        weights (2B,): 1 for the generator's images, `weight` for the copy's.

        Deviation: a batch with weights is averaged by them, so the student's loss is (D(G) + weight D(copy)) /
        (1 + weight) where MAD has the sum. Learning rate and clip then mean the same with and without the copy.
        """
        if self.copy is None:
            return batch
        count = len(batch.images)
        with torch.no_grad():
            images = images_from(self.copy, latents(count, self.latent, context, "ema-latents"), context)
        context.counters.add("samples", count)
        more = context.teach(images)
        weights = torch.ones(2 * count, device=images.device)
        weights[count:] = self.settings.weight
        return Batch(
            torch.cat([batch.images, images]),
            teacher_outputs=batch.answers().followed_by(more.answers()),
            weights=weights,
        )

    def state(self) -> Mapping[str, Stateful]:
        """What outlives a move, for the method's own state()."""
        return {} if self.copy is None else {"ema": self.copy}
