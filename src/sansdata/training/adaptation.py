"""The inner loop of meta-learning: a student adapted to one task by a few plain gradient steps, as MAML has it
(Finn et al. 2017, arXiv 1703.03400, algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..columns import Inputs
from ..models.at_weights import StudentAt
from ..objectives.logits import cross_entropy


@dataclass(frozen=True)
class Inner:
    """How a student is adapted. second_order: later gradients run through these steps; else each step counts as a
    constant (first-order MAML)."""

    steps: int
    rate: float
    second_order: bool = False


def adapted(student: StudentAt, loss: Callable[[StudentAt], Tensor], inner: Inner) -> StudentAt:
    """The student after `inner.steps` steps on `loss`, a scalar. A gradient of what it answers reaches the weights that
    it came with, through the steps or past them."""
    with torch.enable_grad():
        here = student if any(weight.requires_grad for weight in student.weights.values()) else frozen(student)
        for _ in range(inner.steps):
            weights = here.weights
            learns = [name for name, weight in weights.items() if weight.requires_grad]
            slopes = torch.autograd.grad(
                loss(here), [weights[name] for name in learns], create_graph=inner.second_order
            )
            moved = {name: weights[name] - inner.rate * slope for name, slope in zip(learns, slopes)}
            here = student.at(weights | moved)
    return here


def frozen(student: StudentAt) -> StudentAt:
    """The same student at copies of its weights, so that no gradient reaches the weights themselves."""
    return student.at({name: weight.detach().clone().requires_grad_() for name, weight in student.weights.items()})


def few_shot_accuracy(
    student: StudentAt, support: tuple[Inputs, Tensor], query: tuple[Inputs, Tensor], inner: Inner
) -> float:
    """The share 0..1 of the query that the student names rightly once it is adapted to the support by cross entropy.

    support, query: (inputs as they travel, ways (B,) int64). BatchNorm works in the mode of the student's module; in
    train mode, as in the papers, with the statistics of the support, then of the query.
    """
    inputs, ways = support
    there = adapted(frozen(student), lambda at: cross_entropy(at(inputs).logits, ways).mean(), inner)
    with torch.no_grad():
        return float((there(query[0]).logits.argmax(1) == query[1]).float().mean())
