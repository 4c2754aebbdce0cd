"""Which classes the next images should show."""

from __future__ import annotations

import torch
from torch import Tensor


def random_labels(count: int, classes: int, generator: torch.Generator) -> Tensor:
    """(count,) int64, each class equally likely."""
    return torch.randint(classes, (count,), generator=generator)


def stratified_labels(count: int, classes: int, generator: torch.Generator) -> Tensor:
    """(count,) int64 in random order: floor(count / classes) of each class, the rest at random without repeats."""
    even = torch.arange(classes).repeat(count // classes)
    rest = torch.randperm(classes, generator=generator)[: count % classes]
    labels = torch.cat([even, rest])
    return labels[torch.randperm(count, generator=generator)]
