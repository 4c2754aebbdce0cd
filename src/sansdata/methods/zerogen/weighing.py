"""Weights of texts by what they do to the student: SunGen (Gao et al. 2023, arXiv 2205.12679), read in its release.

The inner problem teaches a copy of the student on weighed texts, for about an epoch from where it starts. The outer one
asks how its reverse cross-entropy on a part of the same texts would change with each weight, those of the lowest
weights left out: that loss is bounded, so wrong labels among these cannot decide it, and no clean data is needed. The
outer gradient goes through one plain step, as in the release: that of a weight is minus the slope of the text's own
loss along the outer gradient.

Deviation: the release multiplies it by the rate over the sum of the weights and sums batches where this is a mean: one
factor for all weights, which Adam takes out again, but for the clipping, which there never bites.
"""

from __future__ import annotations

import pydantic
import torch
from torch import Tensor

from ...config import Strict
from ...memory import Slot
from .labels import reverse_cross_entropy
from .pilot import EPSILON, Pilot

BETAS = (0.9, 0.999)
CLIP = 3.0
"""Largest norm of the outer gradient (released)."""
HIGHEST = 0.9
"""Share of all texts, by their weights, that the outer loss may look at (released)."""


class Reweigh(Strict):
    """rounds: outer steps, 0 is off (released: 100). rate: of Adam on the logits of the weights (ours). judged: texts
    of the outer loss, the same in all rounds (released: 50,000). batch: of the inner steps (ours)."""

    rounds: int = pydantic.Field(default=0, ge=0)
    rate: float = pydantic.Field(default=0.1, gt=0)
    judged: int = pydantic.Field(default=2000, ge=1)
    batch: int = pydantic.Field(default=128, ge=1)


class Weighing(Slot):
    """The logits of the weights, Adam's moments of them, and how many rounds were made."""

    def __init__(self) -> None:
        super().__init__(logits=None, mean=None, square=None, rounds=0)

    def weights(self, count: int, added: int | None = None) -> Tensor:
        """(count,) in 0..1, of the places of a pool of that many into which `added` texts have gone, the oldest making
        room; texts that came after the rounds count as the mean of the others. added: None is `count`."""
        if self["logits"] is None:
            return torch.ones(count)
        weights, last = self["logits"].sigmoid(), (count if added is None else added) - 1
        numbers = last - (last - torch.arange(count)) % count  # of the text that lies at each place now
        judged = numbers < len(weights)
        return torch.where(judged, weights[numbers.clamp_max(len(weights) - 1)], weights.mean())

    def round(self, pilot: Pilot, how: Reweigh, lr: float) -> float:
        """One outer step; gives the outer loss. lr: of the inner steps."""
        streams, count = pilot.context.streams, len(pilot.labels)
        if self["logits"] is None:
            self.values |= {name: torch.zeros(count) for name in ("logits", "mean", "square")}
        theta = self["logits"].sigmoid()
        pilot.teach(torch.randperm(count, generator=streams("inner")), how.batch, lr, theta)
        ids = judged(theta, how.judged, streams.seed)
        outer = reverse_cross_entropy(pilot.logits(ids), pilot.labels[ids]).mean()
        gradient = torch.autograd.grad(outer, pilot.parameters)
        self.step(-pilot.slopes(gradient) * theta * (1 - theta), how.rate)
        return float(outer.detach())

    def step(self, gradient: Tensor, rate: float) -> None:
        """One step of Adam on the logits, whose gradient (N,) is clipped."""
        gradient = gradient * min(1.0, CLIP / (float(gradient.norm()) + EPSILON))
        self["rounds"] += 1
        self["mean"] = BETAS[0] * self["mean"] + (1 - BETAS[0]) * gradient
        self["square"] = BETAS[1] * self["square"] + (1 - BETAS[1]) * gradient.square()
        mean, square = (self[name] / (1 - beta ** self["rounds"]) for name, beta in zip(("mean", "square"), BETAS))
        self["logits"] = self["logits"] - rate * mean / (square.sqrt() + EPSILON)


def judged(weights: Tensor, count: int, seed: int) -> Tensor:
    """Places of the texts of the outer loss: of `count` that the seed decides those among the HIGHEST of all `weights`
    (N,), at least one."""
    drawn = torch.randperm(len(weights), generator=torch.Generator().manual_seed(seed))[:count]
    least = weights.topk(max(1, int(HIGHEST * len(weights)))).values[-1]
    return drawn[weights[drawn] >= torch.minimum(least, weights[drawn].max())]
