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


def labels_by_weight(count: int, weights: Tensor, generator: torch.Generator) -> Tensor:
    """(count,) int64, independent draws; each class with probability in proportion to `weights` (K,)."""
    return torch.multinomial(weights.double(), count, replacement=True, generator=generator)


def proportional_labels(count: int, weights: Tensor, generator: torch.Generator) -> Tensor:
    """(count,) int64 in random order: of each class its share of `weights` (K,), off by less than one (FedFTG)."""
    exact = weights.double() / weights.double().sum() * count
    take = exact.floor().long()
    take[(exact - take).argsort(descending=True, stable=True)[: count - int(take.sum())]] += 1
    labels = torch.repeat_interleave(torch.arange(len(weights)), take)
    return labels[torch.randperm(count, generator=generator)]
