"""Telling images apart by two views of each (CMI, Fang et al. 2021)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor


def spatial_means(maps: Iterable[Tensor]) -> Tensor:
    """(B, F) float32 at least: the means over all positions of maps (B, C, ...), side by side."""
    wide = [value.to(torch.promote_types(value.dtype, torch.float32)) for value in maps]
    return torch.cat([value.flatten(2).mean(2) if value.ndim > 2 else value for value in wide], dim=1)


def view_contrast(local: Tensor, whole: Tensor, temperature: float, current: int) -> Tensor:
    """A scalar: how badly each local view (N, D) finds the whole view (N, D) of its own image among all N.

    Cross-entropy over cosine / temperature with the own image as the class. The first `current` rows are of the batch
    under way and the others of earlier ones; the two are averaged separately and added, as released, so that the
    gradient to the batch does not fade as more of the earlier ones are compared.
    """
    similarity = F.normalize(local, dim=1) @ F.normalize(whole, dim=1).T / temperature
    rows = F.cross_entropy(similarity, torch.arange(len(local), device=local.device), reduction="none")
    return rows[:current].mean() + (rows[current:].mean() if len(rows) > current else 0.0)
