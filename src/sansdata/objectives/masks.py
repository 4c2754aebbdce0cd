"""How alike two soft masks are. Logits are (B, K, ...), a class for each position."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def soft_dice(one: Tensor, other: Tensor) -> Tensor:
    """(B, K) 2 sum pq / (sum p^2 + sum q^2) over the positions of each sample and class, 0..1; 1 for equal masks
    (V-Net, Milletari et al. 2016, eq. 2)."""
    p, q = (F.softmax(logits, dim=1).flatten(2) for logits in (one, other))
    return 2 * (p * q).sum(2) / (p.square().sum(2) + q.square().sum(2)).clamp_min(1e-12)


def mean_soft_dice(one: Tensor, other: Tensor) -> float:
    """Mean over the classes that `other` names anywhere of the soft Dice over all samples together, 0..1."""
    named = other.argmax(1).unique()
    together = [logits.transpose(0, 1).flatten(1)[None] for logits in (one, other)]
    return float(soft_dice(*together)[0, named].mean())


def class_shares(logits: Tensor) -> Tensor:
    """(K,) share of all positions that each class is named at."""
    counts = torch.bincount(logits.argmax(1).flatten(), minlength=logits.shape[1])
    return counts.float() / counts.sum()
