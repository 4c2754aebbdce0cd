"""Inputs that no method made: what the data-free score is taken on.

Each run's own samples are easy or hard in their own way, so that agreement on them does not compare runs. These images
depend on the teacher alone: structured noise, changed by a few steps of gradient until the teacher sees every class
alike and, where it has BatchNorm, its statistics come near those that it remembers of its data (as DeepInversion does,
Yin et al. 2020, arXiv 1912.08795). All runs of a teacher meet the same ones.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from ..columns import Inputs
from ..contracts import Access
from ..kinds.index import input_kind
from ..kinds.inputs.image import Images, Normalise
from ..models.cost import multiply_adds
from ..models.modes import fixed
from ..objectives.batch_stats import BatchStatistics
from ..objectives.logits import cross_entropy
from ..runtime import Runtime
from ..synthesis.augment import jitter
from ..teachers.base import Teacher
from .budget import LONG
from .monitor import announce, clock
from .selection import capacity

SEED = 20_010
"""Of the images, not of the run: the same for all."""
COUNT, FEWEST = 256, 64
BATCH = 256
ITERATIONS = 25
RATE, BN, JITTER = 0.1, 10.0, 2
"""Adam's rate on pixels in the space the teacher takes, weight of the BatchNorm distance, reach in pixels."""
MOST_WORK = 2e12
"""Multiply-adds that making the images may cost, where fewer images can keep it below."""


@dataclass(frozen=True)
class Probes:
    """packed: the probes as they are stored; `queries` of the teacher were needed.

    telling: brought near the teacher's BatchNorm statistics. Without, a score on them ranks runs no better than chance
    would have it (0.5 over ten runs, where agreement on the run's own samples reaches 0.8).
    """

    packed: Inputs
    telling: bool
    queries: int


def make_probes(teacher: Teacher, runtime: Runtime) -> Probes:
    """The probes of a teacher, the same for every run; nothing of it is counted as distillation.

    Inputs that are no images, or of which a teacher names no class, are drawn, and tell no more than draws do.
    """
    kind = input_kind(teacher.task)
    generator = torch.Generator().manual_seed(SEED)
    if not isinstance(kind, Images) or teacher.task.pair[1] != "classes":
        count = min(COUNT, capacity(teacher.network.outputs))
        return Probes(kind.pack(kind.draw(count, generator)), False, 0)
    blank = teacher.network.preprocessor(torch.zeros(2, *kind.spec.shape))
    if teacher.asked_jointly:  # only the first process is here, and alone it gets no gradient
        return Probes(kind.pack(kind.draw(FEWEST, generator, "dead-leaves")), False, 0)
    count = affordable_count(multiply_adds(teacher.module, blank))
    start = kind.draw(count, generator, "dead-leaves")
    if teacher.access < Access.WEIGHTS:
        return Probes(kind.pack(start), False, 0)
    targets = torch.arange(count) % teacher.task.classes
    announce(f"probes    {count} images made from the teacher alone, in {ITERATIONS} steps")
    with fixed(teacher.module), torch.enable_grad():
        parts = [
            _invert(teacher, runtime, part, labels, generator)
            for part, labels in zip(start.split(BATCH), targets.split(BATCH))
        ]
    return Probes(kind.pack(torch.cat(parts)), bool(teacher.inside.batch_norms), count * ITERATIONS)


def affordable_count(cost: int) -> int:
    """Images to make with a teacher of `cost` multiply-adds an image; by the network, not the machine: all runs agree.

    A pass with its gradient to the image costs about three forward passes' worth at most.
    """
    return max(FEWEST, min(COUNT, int(MOST_WORK / (3 * ITERATIONS * max(cost, 1)))))


def _invert(teacher: Teacher, runtime: Runtime, start: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
    """start (B, C, H, W) in unit space, moved towards `targets` (B,) and the teacher's statistics."""
    network, door = teacher.network, teacher.network.preprocessor
    assert isinstance(door, Normalise)
    bn = BatchStatistics(network.module, teacher.inside.batch_norms)
    low, high = (door(runtime.place(torch.full((1, *start.shape[1:]), v))) for v in (0.0, 1.0))
    prepared = door(runtime.place(start)).clone().requires_grad_()
    targets = targets.to(prepared.device)
    optimizer = torch.optim.Adam([prepared], lr=RATE)
    begun = time.perf_counter()
    for number in range(ITERATIONS):
        views = door.undo(jitter(prepared, JITTER, generator))
        outputs = runtime.forward(network, views, bn.taps)
        loss = cross_entropy(outputs.logits, targets).mean()
        if bn.norms:
            loss = loss + BN * bn(outputs.taps)
        (prepared.grad,) = torch.autograd.grad(loss, prepared)
        optimizer.step()
        with torch.no_grad():  # what a picture can hold
            prepared.copy_(torch.maximum(torch.minimum(prepared, high), low))
        left = (time.perf_counter() - begun) * (ITERATIONS / (number + 1) - 1)
        if number == 0 and left > LONG:
            announce(f"probes    about {clock(left)} more")
    return door.undo(prepared.detach())
