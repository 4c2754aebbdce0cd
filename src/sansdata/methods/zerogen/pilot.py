"""A copy of the student that is taught on what was written so far, and what its weights say of single texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ... import columns
from ...columns import Inputs
from ...method import Context
from ...models.copying import duplicate
from ...models.modes import in_mode
from ...objectives.logits import cross_entropy

EPSILON = 1e-8
REACH = 1e-2
"""How far slopes look, as a share of the norm of the weights of the student."""
AT_ONCE = 512
"""Texts of a pass without gradient."""


@dataclass(frozen=True)
class Pilot:
    """packed: texts as they are stored; labels (N,). student: the copy; parameters: what of it is trained.

    Dropout belongs to its steps alone: losses are compared, and those of two masks differ by more than their slopes.
    """

    context: Context
    packed: Inputs
    labels: Tensor
    student: nn.Module

    @classmethod
    def of(cls, context: Context, packed: Inputs, labels: Tensor) -> Pilot:
        """A copy of the student as it is."""
        return cls(context, packed, labels, duplicate(context.student).eval())

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [one for one in self.student.parameters() if one.requires_grad]

    def teach(self, ids: Tensor, batch: int, lr: float, weights: Tensor | None = None) -> None:
        """Adam on the texts at `ids`, in that order; weights (N,) of all texts."""
        optimizer = torch.optim.Adam(self.parameters, lr=lr)
        with in_mode(self.student, train=True):
            for some in ids.split(batch):
                losses = self.losses(some) if weights is None else weights[some] * self.losses(some)
                losses.mean().backward()
                self.context.runtime.step(optimizer)

    def logits(self, ids: Tensor) -> Tensor:
        context = self.context
        inputs = context.runtime.place(columns.take(self.packed, ids))
        network = context.network.around(self.student)
        return context.runtime.forward(network, inputs, counters=context.counters).logits.float()

    def losses(self, ids: Tensor) -> Tensor:
        """(n,) the cross-entropy of the texts at `ids`."""
        return cross_entropy(self.logits(ids), self.labels[ids])

    def slopes(self, direction: Sequence[Tensor]) -> Tensor:
        """(N,): how fast the loss of every text rises along `direction`."""
        parts = torch.arange(len(self.labels)).split(AT_ONCE)
        return slopes_along(direction, self.parameters, lambda: torch.cat([self.losses(ids) for ids in parts]))


def slopes_along(direction: Sequence[Tensor], parameters: Sequence[Tensor], values: Callable[[], Tensor]) -> Tensor:
    """(N,): the derivative of `values()` (N,) along `direction`, by central differences; the parameters are as they
    were afterwards. Deviation: the releases take gradients, one by one or batch by batch; this is every text's own."""
    kept = [one.detach().clone() for one in parameters]
    length = torch.stack([one.norm() for one in direction]).norm()
    step = REACH * float(torch.stack([one.norm() for one in kept]).norm() / (length + EPSILON))
    gradients = []
    with torch.no_grad():
        for sign in (1, -1):
            for one, start, way in zip(parameters, kept, direction):
                one.copy_(start + sign * step * way)
            gradients.append(values().cpu())
        for one, start in zip(parameters, kept):
            one.copy_(start)
    return (gradients[0] - gradients[1]) / (2 * step)
