"""Soft labels that a teacher may have given: drawn around a class, spread over the classes that resemble it (ZSKD)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

FLOOR = 1e-4
"""Added to every concentration (ZSKD, released)."""


def class_similarity(weight: Tensor) -> Tensor:
    """(K, K) float64: cosines between the rows of a last linear layer's weight (K, D) (ZSKD, section 3.2.1)."""
    rows = F.normalize(weight.detach().double().cpu(), dim=1)
    return rows @ rows.T


def concentrations(similarity: Tensor) -> Tensor:
    """(K, K) in 0..1: each row of a class similarity stretched so that its least is 0 and its own class 1.

    A row without differences, as of a class whose weights are all 0, gets ones. ZSKD's beta multiplies the result:
    the released code scales the similarity instead, which this stretching undoes, so that its two betas are one.
    """
    low = similarity.amin(1, keepdim=True)
    span = similarity.amax(1, keepdim=True) - low
    return torch.where(span > 1e-9, (similarity - low) / span.clamp_min(1e-9), 1.0)


def dirichlet_targets(labels: Tensor, similarity: Tensor, betas: Sequence[float], generator: torch.Generator) -> Tensor:
    """(B, K) float32, rows that sum to 1: a draw from Dir(beta * concentrations[label] + FLOOR) for each label (B,).

    similarity (K, K) as of `class_similarity`. betas are used in turn, so that each has its share of the batch; a
    small one gives peaked targets. Drawn in float64: float32 holds no gamma variables of so small a shape.
    """
    alpha = concentrations(similarity)[labels]
    beta = torch.tensor([betas[i % len(betas)] for i in range(len(labels))], dtype=alpha.dtype)
    alpha = (beta[:, None] * alpha + FLOOR).numpy()
    random = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    return torch.from_numpy(np.stack([random.dirichlet(row) for row in alpha])).float()
