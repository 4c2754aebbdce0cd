"""Weights of texts by what they do to the student: SunGen (Gao et al. 2023, arXiv 2205.12679), read in its release.

The inner problem teaches a copy of the student on weighed texts, for about an epoch from where it starts. The outer one
asks how its reverse cross-entropy on a random part of the same texts would change with each weight: that loss is
bounded, so wrong labels among these cannot decide it, and no clean data is needed. The outer gradient goes through one
step, as in the release: that of a weight is minus the slope of the text's own loss along the outer gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pydantic
import torch
from torch import Tensor, nn

from ... import columns
from ...columns import Inputs
from ...config import Strict
from ...memory import Slot
from ...method import Context
from ...models.copying import duplicate
from ...objectives.logits import cross_entropy
from .labels import reverse_cross_entropy

BETAS, EPSILON = (0.9, 0.999), 1e-8
CLIP = 3.0
"""Largest norm of the outer gradient (released)."""
REACH = 1e-2
"""How far the slopes look, as a share of the norm of the weights of the student."""


class Reweigh(Strict):
    """rounds: outer steps, 0 is off (released: 100). rate: of Adam on the logits of the weights (ours). judged: texts
    of the outer loss in a round (released: 50,000). batch: of the inner steps (ours)."""

    rounds: int = pydantic.Field(default=0, ge=0)
    rate: float = pydantic.Field(default=0.1, gt=0)
    judged: int = pydantic.Field(default=2000, ge=1)
    batch: int = pydantic.Field(default=128, ge=1)


class Weighing(Slot):
    """The logits of the weights, Adam's moments of them, and how many rounds were made."""

    def __init__(self) -> None:
        super().__init__(logits=None, mean=None, square=None, rounds=0)

    def weights(self, count: int) -> Tensor:
        """(count,) in 0..1; texts that came after the rounds count as the mean of the others."""
        if self["logits"] is None:
            return torch.ones(count)
        found = self["logits"].sigmoid()[:count]
        return torch.cat([found, found.mean().expand(count - len(found))])

    def step(self, gradient: Tensor, rate: float) -> None:
        """One step of Adam on the logits, whose gradient (N,) is clipped."""
        gradient = gradient * min(1.0, CLIP / (float(gradient.norm()) + EPSILON))
        self["rounds"] += 1
        self["mean"] = BETAS[0] * self["mean"] + (1 - BETAS[0]) * gradient
        self["square"] = BETAS[1] * self["square"] + (1 - BETAS[1]) * gradient.square()
        mean, square = (self[name] / (1 - beta ** self["rounds"]) for name, beta in zip(("mean", "square"), BETAS))
        self["logits"] = self["logits"] - rate * mean / (square.sqrt() + EPSILON)


def weigh(weighing: Weighing, how: Reweigh, context: Context, packed: Inputs, labels: Tensor, lr: float) -> float:
    """One outer step on stored texts with labels (N,); gives the outer loss. lr: Adam's, of the inner steps."""
    if weighing["logits"] is None:
        zeros = torch.zeros(len(labels))
        weighing.values |= {"logits": zeros, "mean": zeros.clone(), "square": zeros.clone()}
    theta = weighing["logits"].sigmoid()
    student = duplicate(context.student).train()
    optimizer = torch.optim.Adam(student.parameters(), lr=lr)
    for ids in torch.randperm(len(labels), generator=context.streams("inner")).split(how.batch):
        (theta[ids] * losses(student, context, packed, labels, ids)).mean().backward()
        context.runtime.step(optimizer)
    parameters = [one for one in student.parameters() if one.requires_grad]
    ids = torch.randperm(len(labels), generator=context.streams("outer"))[: how.judged]
    outer = reverse_cross_entropy(logits_of(student, context, packed, ids), labels[ids]).mean()
    gradient = torch.autograd.grad(outer, parameters)
    moments = [optimizer.state[one]["exp_avg_sq"] for one in parameters]
    direction = [one / (moment.sqrt() + EPSILON) for one, moment in zip(gradient, moments)]
    slopes = slopes_along(direction, parameters, lambda: of_all(student, context, packed, labels))
    weighing.step(-slopes * theta * (1 - theta), how.rate)
    return float(outer.detach())


def slopes_along(direction: Sequence[Tensor], parameters: Sequence[Tensor], values: Callable[[], Tensor]) -> Tensor:
    """(N,): the derivative of `values()` (N,) along `direction`, by central differences; the parameters are as they
    were afterwards. Deviation: the release takes gradients batch by batch; differences give every text its own."""
    kept = [one.detach().clone() for one in parameters]
    length = torch.stack([one.norm() for one in direction]).norm()
    step = REACH * float(torch.stack([one.norm() for one in kept]).norm() / (length + EPSILON))
    found = []
    with torch.no_grad():
        for sign in (1, -1):
            for one, start, way in zip(parameters, kept, direction):
                one.copy_(start + sign * step * way)
            found.append(values())
        for one, start in zip(parameters, kept):
            one.copy_(start)
    return (found[0] - found[1]) / (2 * step)


def logits_of(student: nn.Module, context: Context, packed: Inputs, ids: Tensor) -> Tensor:
    inputs = context.runtime.place(columns.take(packed, ids))
    network = context.network.around(student)
    return context.runtime.forward(network, inputs, counters=context.counters).logits.float()


def losses(student: nn.Module, context: Context, packed: Inputs, labels: Tensor, ids: Tensor) -> Tensor:
    """(n,) the cross-entropy of the texts at `ids`."""
    return cross_entropy(logits_of(student, context, packed, ids), labels[ids])


def of_all(student: nn.Module, context: Context, packed: Inputs, labels: Tensor) -> Tensor:
    """(N,) the cross-entropy of every text, without gradient."""
    with torch.no_grad():
        parts = torch.arange(len(labels)).split(512)
        return torch.cat([losses(student, context, packed, labels, ids) for ids in parts]).cpu()
