"""Losses that ask several clients at once, each in proportion to what it knows of a class.

Shapes: S clients, B batch, K classes. logits (S, B, K), one row per client; shares (S, B), columns that sum to 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def class_shares(counts: Tensor) -> Tensor:
    """(S, K): which part of the examples of each class every client has; counts (S, K). Even where nobody has any.

    FedFTG's class-level ensemble weight, and the weight per label in FedGen's released code.
    """
    counts = counts.double()
    total = counts.sum(0, keepdim=True)
    even = torch.full_like(counts, 1 / len(counts))
    return torch.where(total > 0, counts / total.clamp_min(1), even)


def weighted_cross_entropy(logits: Tensor, targets: Tensor, shares: Tensor) -> Tensor:
    """(B,): sum over clients of share * CE(their logits, targets (B,)).

    FedFTG, L_cls; FedGen's teacher loss as released. Each sample carries its own share; the released FedFTG averages CE
    over the batch before it multiplies, which leaves only the mean share.
    """
    clients, count, classes = logits.shape
    each = F.cross_entropy(logits.reshape(-1, classes), targets.repeat(clients), reduction="none")
    return (shares * each.view(clients, count)).sum(0)


def ensemble_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """(B,): CE of the mean of the clients' logits (FedGen, eq. 4)."""
    return F.cross_entropy(logits.mean(0), targets, reduction="none")


def mixture(logits: Tensor, shares: Tensor) -> Tensor:
    """(B, K): the clients' probabilities, weighted by their shares; rows sum to 1."""
    return (shares[:, :, None] * F.softmax(logits, dim=2)).sum(0)
