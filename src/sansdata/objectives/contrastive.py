"""Telling images apart by two views of each (CMI, Fang et al. 2021), or by their classes (CAE-DFKD, Zhang et al.)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor


def spatial_means(maps: Iterable[Tensor]) -> Tensor:
    """(B, F) float32 at least: the means over all positions of maps (B, C, ...), side by side."""
    wide = [value.to(torch.promote_types(value.dtype, torch.float32)) for value in maps]
    return torch.cat([value.flatten(2).mean(2) if value.ndim > 2 else value for value in wide], dim=1)


def pair_contrast(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """(N,), NT-Xent (SimCLR, Chen et al. 2020, eq. 1): how badly partners find each other among 2N - 1 others.

    first, second: (N, D), rows of length 1; first[i] and second[i] are partners.
    """
    both = torch.cat([first, second])
    similarity = both @ both.T / temperature
    similarity = similarity.masked_fill(torch.eye(len(both), dtype=torch.bool, device=both.device), -torch.inf)
    partners = torch.arange(len(both), device=both.device).roll(len(first))
    return F.cross_entropy(similarity, partners, reduction="none").view(2, -1).mean(0)


def view_contrast(local: Tensor, whole: Tensor, temperature: float, current: int) -> Tensor:
    """A scalar: how badly each local view (N, D) finds the whole view (N, D) of its own image among all N.

    Cross-entropy over cosine / temperature with the own image as the class. The first `current` rows are of the batch
    under way and the others of earlier ones; the two are averaged separately and added, as released, so that the
    gradient to the batch does not fade as more of the earlier ones are compared.
    """
    similarity = F.normalize(local, dim=1) @ F.normalize(whole, dim=1).T / temperature
    rows = F.cross_entropy(similarity, torch.arange(len(local), device=local.device), reduction="none")
    return rows[:current].mean() + (rows[current:].mean() if len(rows) > current else 0.0)


def class_contrast(features: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """A scalar: how badly rows of one class find each other among all rows (Khosla et al. 2020, eq. 2, L_out).

    features (N, D) of length 1, labels (N,). -mean over the rows i that have another of their class of
    1/|P(i)| sum over p in P(i) of log(exp(v_i.v_p / t) / sum over a != i of exp(v_i.v_a / t)). 0 where no row has one.
    """
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    positive = (labels[:, None] == labels[None, :]) & ~itself
    partners = positive.sum(1)
    if not bool((partners > 0).any()):
        return features.sum() * 0.0
    similarity = (features @ features.T / temperature).masked_fill(itself, float("-inf"))
    log_share = F.log_softmax(similarity, dim=1).masked_fill(~positive, 0.0)
    rows = -log_share.sum(1) / partners.clamp_min(1)
    return rows[partners > 0].mean()
