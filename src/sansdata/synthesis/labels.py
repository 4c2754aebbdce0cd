"""Which classes the next images should show."""

from __future__ import annotations

import torch
from torch import Tensor


def random_labels(count: int, classes: int, generator: torch.Generator) -> Tensor:
    """(count,) int64, each class equally likely."""
    return torch.randint(classes, (count,), generator=generator)


def class_blocks(count: int, classes: int, generator: torch.Generator) -> Tensor:
    """(count,) int64: every class once, in order, again and again; the rest at random without repeats."""
    rest = torch.randperm(classes, generator=generator)[: count % classes]
    return torch.cat([torch.arange(classes).repeat(count // classes), rest])


def stratified_labels(count: int, classes: int, generator: torch.Generator) -> Tensor:
    """(count,) int64 in random order: floor(count / classes) of each class, the rest at random without repeats."""
    labels = class_blocks(count, classes, generator)
    return labels[torch.randperm(count, generator=generator)]
