"""Learning to Retain while Acquiring (Patel, Mopuri, Qiu, CVPR 2023, arXiv 2302.14290): an update for any method.

A generator that keeps moving makes the student forget. Each step learns the new batch and, at the weights that learning
it would give, samples from a memory: L(theta) = acquire(theta) + retain(theta - rate * grad acquire(theta)). To first
order in the rate this raises the inner product of the two gradients: learning the new undoes less of the old.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from .. import columns
from ..contracts import Batch, Forward, Losses, Progress, Stateful
from ..method import Context
from ..settings import RetainSettings
from .ring_replay import RingReplay
from .vae_replay import VAEReplay

Loss = Callable[[Forward, Batch], Losses]
ForwardAt = Callable[[Mapping[str, Tensor]], Forward]
"""Parameters by name -> the student with these instead of its own; BatchNorm's running statistics are copies."""


class Replay(Protocol):
    """Where remembered samples come from."""

    def recall(self) -> Batch | None: ...
    def remember(self, batch: Batch, replayed: Batch | None) -> dict[str, Tensor]: ...
    def state(self) -> Mapping[str, Stateful]: ...


MEMORIES: Mapping[str, Callable[[Context, RetainSettings], Replay]] = {"ring": RingReplay, "vae": VAEReplay}


class Retain:
    """Steps `optimizer` on the new batch and on what the memory gives.

    Logged beside the losses: `retain`, the remembered samples' loss at the look-ahead; at `pushes` even moments of the
    run `alignment`, the cosine of the gradients of acquiring and retaining, and in mode 'exact' `bending`, the norm
    of the second-order part over that of the rest of the retaining gradient.
    """

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
        self.memory = MEMORIES[settings.memory](context, settings)

    def active(self, progress: Progress) -> bool:
        return True

    def step(self, loss: Loss, batch: Batch) -> Losses:
        """One step on acquisition and retention; before the memory holds anything, on acquisition alone."""
        old = self.memory.recall()
        alignment = self._alignment(loss, batch, old) if old is not None and self._watched() else None
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
        if alignment is not None:
            losses.add("alignment", 1, lambda: alignment)
        for name, value in self.memory.remember(batch, old).items():
            losses.add(name, 1, lambda value=value: value)
        return losses

    def _look_ahead(self, loss: Loss, batch: Batch, old: Batch) -> Losses:
        """Leaves the gradient of both terms in the parameters."""
        exact = self.settings.mode == "exact"
        learns = [p for group in self.optimizer.param_groups for p in group["params"]]
        acquiring = loss(self._without_trace() if self.settings.at_theta else self.forward, batch)
        slopes = _slopes(acquiring.total(batch.weights), learns, create_graph=exact)
        losses, pulls = acquiring, slopes
        if self.settings.at_theta:
            both = joined(batch, old)
            losses = loss(self.forward, both)
            pulls = _slopes(losses.total(both.weights), learns)

        names = {p: name for name, p in self.student.named_parameters() if p.requires_grad}
        slope_of = dict(zip(learns, slopes))
        rate = self.optimizer.param_groups[0]["lr"] if self.settings.rate is None else self.settings.rate
        ahead = {name: _moved(p, slope_of.get(p), rate) for p, name in names.items()}
        if not exact:  # the slope at the look-ahead is taken for the slope here
            ahead = {name: p.detach().requires_grad_() for name, p in ahead.items()}
        retained = loss(self.forward_at(ahead), old).total(old.weights)
        ahead_slopes = _slopes(retained, [*ahead.values(), *learns])
        there, through = dict(zip(names, ahead_slopes)), dict(zip(learns, ahead_slopes[len(ahead) :]))
        for p, pull in zip(learns, pulls):
            # Only the exact look-ahead is a function of the student; what learns beside the student is in both.
            p.grad = _sum(pull, through[p] if exact or p not in names else there[p])
        losses.add("retain", 1, lambda: retained.detach())
        if exact and self._watched():
            straight, bent = _flat(there.items()), _flat((p, through[p]) for p in names)
            losses.add("bending", 1, lambda: (bent - straight).norm() / straight.norm().clamp_min(1e-12))
        return losses

    def _without_trace(self) -> Forward:
        """The student at its present weights, its BatchNorm statistics left as they are."""
        return self.forward_at(dict(self.student.named_parameters()))

    def _watched(self) -> bool:
        """Whether this step passes one of the even moments of the run at which more is logged."""
        progress, moments = self.context.progress, self.settings.pushes
        return (progress.steps + 1) * moments // progress.planned > progress.steps * moments // progress.planned

    def _alignment(self, loss: Loss, batch: Batch, old: Batch) -> Tensor:
        """The cosine, -1..1, of the gradients of both losses at the present weights."""
        learns = [p for p in self.student.parameters() if p.requires_grad]
        acquiring, retaining = (
            _flat(zip(learns, _slopes(loss(self._without_trace(), part).total(part.weights), learns)))
            for part in (batch, old)
        )
        return torch.cosine_similarity(acquiring, retaining, dim=0)

    def findings(self) -> list[str]:
        return []

    def state(self) -> Mapping[str, Stateful]:
        return self.memory.state()


def _moved(parameter: Tensor, slope: Tensor | None, rate: float) -> Tensor:
    return parameter if slope is None else parameter - rate * slope


def _slopes(value: Tensor, at: Sequence[Tensor], create_graph: bool = False) -> tuple[Tensor | None, ...]:
    return torch.autograd.grad(value, at, create_graph=create_graph, allow_unused=True)


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    parts = [part.detach() for part in (a, b) if part is not None]
    return sum(parts[1:], parts[0]) if parts else None


def _flat(slopes: Iterable[tuple[Tensor, Tensor | None]]) -> Tensor:
    """(parameter, its slope) as one vector; zeros where it has none."""
    parts = (torch.zeros_like(p) if slope is None else slope.detach() for p, slope in slopes)
    return torch.cat([part.flatten() for part in parts])


def joined(a: Batch, b: Batch) -> Batch:
    """Both batches in one, in this order; weights of 1 where one of them has none, no answers where one has none.

    The extras are those of `a`: a method put them there for its own inputs, which still come first.
    """
    weights = None
    if a.weights is not None or b.weights is not None:
        weights = torch.cat([_weights(a), _weights(b)])
    targets = torch.cat([a.targets, b.targets]) if a.targets is not None and b.targets is not None else None
    outputs = None
    if a.teacher_outputs is not None and b.teacher_outputs is not None:
        outputs = a.teacher_outputs.followed_by(b.teacher_outputs)
    return Batch(columns.join([a.inputs, b.inputs]), targets, outputs, weights, a.extras, a.space)


def _weights(batch: Batch) -> Tensor:
    if batch.weights is not None:
        return batch.weights
    first = columns.parts(batch.inputs)[0]
    return torch.ones(len(first), device=first.device)
