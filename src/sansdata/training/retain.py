"""Learning to Retain while Acquiring (Patel, Mopuri, Qiu, CVPR 2023, arXiv 2302.14290): an update for any method.

A generator that keeps moving makes the student forget. Each step learns the new batch and, at the weights that learning
it would give, old samples from a memory: L(theta) = acquire(theta) + retain(theta - rate * grad acquire(theta)). To
first order in the rate this raises the inner product of the two gradients: learning the new undoes less of the old.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from ..contracts import Batch, Context, Forward, Losses, Stateful
from ..memory import Slot
from ..settings import RetainSettings

Loss = Callable[[Forward, Batch], Losses]
ForwardAt = Callable[[Mapping[str, Tensor]], Forward]
"""Parameters by name -> the student with these instead of its own."""


class Retain:
    """Steps `optimizer` on the new batch and on what the memory holds."""

    def __init__(
        self,
        context: Context,
        forward: Forward,
        optimizer: torch.optim.Optimizer,
        clip: float | None,
        student: nn.Module,
        forward_at: ForwardAt,
        settings: RetainSettings,
    ) -> None:
        self.context, self.student, self.optimizer, self.clip = context, student, optimizer, clip
        self.forward, self.forward_at, self.settings = forward, forward_at, settings
        self.memory = Slot(images=[], targets=[], pushed=0)

    def step(self, loss: Loss, batch: Batch) -> Losses:
        """One step on acquisition and retention; before the memory holds anything, on acquisition alone."""
        old = self._recall()
        if old is None:
            losses = loss(self.forward, batch)
            losses.total(batch.weights).backward()
        elif self.settings.mode == "replay":
            both = joined(batch, old)
            losses = loss(self.forward, both)
            losses.total(both.weights).backward()
        else:
            losses = self._look_ahead(loss, batch, old)
        self.context.runtime.step(self.optimizer, self.clip)
        self._remember(batch)
        return losses

    def _look_ahead(self, loss: Loss, batch: Batch, old: Batch) -> Losses:
        """Leaves the gradient of both terms in the parameters."""
        exact = self.settings.mode == "exact"
        losses = loss(self.forward, batch)
        acquired = losses.total(batch.weights)
        learns = [p for group in self.optimizer.param_groups for p in group["params"]]
        slopes = torch.autograd.grad(acquired, learns, create_graph=exact, retain_graph=exact, allow_unused=True)
        slope_of = dict(zip(learns, slopes))
        ahead = {name: self._moved(p, slope_of.get(p)) for name, p in self.student.named_parameters()}
        if exact:
            retained = loss(self.forward_at(ahead), old).total(old.weights)
            (acquired + retained).backward()
        else:  # the slope at the look-ahead is taken for the slope here
            ahead = {name: p.detach().requires_grad_() for name, p in ahead.items()}
            retained = loss(self.forward_at(ahead), old).total(old.weights)
            for p, slope in slope_of.items():
                p.grad = slope
            retained.backward()
            for name, p in self.student.named_parameters():
                there = ahead[name].grad
                if there is not None and p.requires_grad:
                    p.grad = there if p.grad is None else p.grad + there
        losses.add("retain", 1, lambda: retained.detach())
        return losses

    def _moved(self, parameter: Tensor, slope: Tensor | None) -> Tensor:
        return parameter if slope is None else parameter - self.settings.rate * slope

    def _recall(self) -> Batch | None:
        """A stored batch, picked at random, with the teacher's answers; none where nothing is stored."""
        images, targets = self.memory["images"], self.memory["targets"]
        if not images:
            return None
        place = int(torch.randint(len(images), (), generator=self.context.streams("retain")))
        runtime, labels = self.context.runtime, targets[place]
        return self.context.teach(
            runtime.place(images[place]), targets=None if labels is None else labels.to(runtime.device)
        )

    def _remember(self, batch: Batch) -> None:
        """A share of this batch into the ring, at `pushes` even moments of the run."""
        settings, progress = self.settings, self.context.progress
        if int((progress.steps + 1) * settings.pushes / progress.planned) <= self.memory["pushed"]:
            return
        count = max(2, round(settings.share * len(batch.inputs)))
        images, targets = self.memory["images"], self.memory["targets"]
        images.append(batch.inputs[:count].detach().cpu())
        targets.append(None if batch.targets is None else batch.targets[:count].cpu())
        del images[: -settings.slots], targets[: -settings.slots]
        self.memory["pushed"] += 1

    def state(self) -> Mapping[str, Stateful]:
        return {"memory": self.memory}


def joined(a: Batch, b: Batch) -> Batch:
    """Both batches in one, in this order; weights of 1 where one of them has none."""
    assert a.teacher_outputs is not None
    assert b.teacher_outputs is not None
    weights = None
    if a.weights is not None or b.weights is not None:
        weights = torch.cat([_weights(a), _weights(b)])
    targets = torch.cat([a.targets, b.targets]) if a.targets is not None and b.targets is not None else None
    outputs = a.teacher_outputs.followed_by(b.teacher_outputs)
    return Batch(torch.cat([a.inputs, b.inputs]), a.kind, targets, outputs, weights)


def _weights(batch: Batch) -> Tensor:
    return torch.ones(len(batch.inputs), device=batch.inputs.device) if batch.weights is None else batch.weights
