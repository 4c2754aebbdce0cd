"""Whether an exported file computes what the module computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import columns
from ..columns import Inputs
from ..kinds.index import input_kind, output_kind
from ..tasks import Task

BATCH_SIZES = (1, 3, 16)
"""None is the batch size that was traced: an exporter may have fixed it without a word."""
LEAST_INPUTS = 256
"""Inputs that are compared at least, besides those at the edges of what the kind allows."""
RELATIVE = 4e-6
"""Of the largest answer, about 32 roundings of float32: where logits are large, no absolute figure can be kept."""
STEPPED = 0.05
"""The same where activations are at few bits: a value between two steps may fall to either, by one rounding."""
MIN_AGREEMENT = 0.99


@dataclass(frozen=True)
class Parity:
    """max_abs_difference: of answers. argmax_agreement: share of inputs with the same class, 0..1; None where the kind
    of the answers knows nothing like a class. inputs: how many were compared."""

    max_abs_difference: float
    allowed_difference: float
    argmax_agreement: float | None
    batch_sizes: tuple[int, ...]
    inputs: int

    @property
    def passed(self) -> bool:
        # written so that nan fails
        agrees = self.argmax_agreement is None or self.argmax_agreement >= MIN_AGREEMENT
        return self.max_abs_difference <= self.allowed_difference and agrees


def compare(
    reference: Callable[..., Tensor],
    exported: Callable[..., Tensor],
    task: Task,
    tolerance: float,
    relative: float = RELATIVE,
    batch_sizes: tuple[int, ...] = BATCH_SIZES,
) -> Parity:
    """Both on the same seeded inputs, which the kind draws in each of its ways, as they are stored: images lie in 0..1.
    Both are called with the columns in order.

    allowed_difference is the tolerance, or `relative` times the largest absolute answer where that is more. Shapes that
    differ count as infinitely far.
    """
    outputs = output_kind(task)
    worst = largest = 0.0
    same: list[Tensor | None] = []
    count = 0
    for inputs in probes(task, batch_sizes):
        given, size = columns.parts(inputs), columns.count(inputs)
        count += size
        with torch.no_grad():
            ours, theirs = reference(*given), exported(*given)
        if ours.shape != theirs.shape:
            worst = float("inf")
            same.append(torch.zeros(size, dtype=torch.bool))
            continue
        gap = float((ours.double() - theirs.double()).abs().max())
        worst = gap if not gap <= worst else worst  # nan stays: max() would drop it
        largest = max(largest, float(ours.abs().max()))
        same.append(outputs.same(ours, theirs))
    parts = [part for part in same if part is not None]
    agreement = float(torch.cat(parts).float().mean()) if parts else None
    return Parity(worst, max(tolerance, relative * largest), agreement, batch_sizes, count)


def probes(task: Task, batch_sizes: tuple[int, ...] = BATCH_SIZES) -> Iterator[Inputs]:
    """Seeded inputs in batches, as they travel once they were stored: the kind's edges, then what it draws in each of
    its ways, LEAST_INPUTS of them or more."""
    random, kind = torch.Generator().manual_seed(0), input_kind(task)
    edges = kind.edges()
    if edges is not None:
        yield kind.unpack(kind.pack(edges))
    rest = max(-(-LEAST_INPUTS // len(kind.sources)) - sum(batch_sizes), 0)
    for source in kind.sources:
        for size in batch_sizes + ((rest,) if rest else ()):
            yield kind.unpack(kind.pack(kind.draw(size, random, source)))
