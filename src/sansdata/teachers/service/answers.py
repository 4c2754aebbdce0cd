"""From what a service says to logits: checked, in the order of the classes, and with a logarithm where it said 0."""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import TeacherError

SMALLEST = 1e-7
"""A probability of 0 counts as this, or as a quarter of the last decimal where the service rounds."""
LABEL_LOGIT = -float(torch.tensor(SMALLEST).log())
"""The logit of a class that is named alone, beside 0 for the others."""


def of_probabilities(shares: Tensor, decimals: int | None = None) -> Tensor:
    """Logits (B, K) float32 of probabilities (B, K), whose softmax they are and whose mean over the classes is 0.

    The mean of a network's own logits is not in its probabilities: 0 stands for it (DFME, section 3.3, released as
    logit_correction='mean'). Rows are made to sum to 1 again. Raises TeacherError for what is no distribution.
    """
    shares = shares.double()
    classes = shares.shape[1]
    unit = 0.0 if decimals is None else 10.0**-decimals
    if not bool(torch.isfinite(shares).all()):
        raise TeacherError("a probability of the answer is no finite number")
    if bool((shares < -1e-6).any()) or bool((shares.sum(1) - 1).abs().max() > 1e-3 + classes * unit):
        raise TeacherError(
            "the answer is no distribution: a probability is below 0, or a row does not sum to 1. Where the service "
            "rounds, say to how many places: decimals: in its file"
        )
    logs = shares.clamp_min(max(SMALLEST, unit / 4)).log()
    return (logs - logs.mean(1, keepdim=True)).float()


def of_labels(labels: Tensor, classes: int) -> Tensor:
    """Logits (B, K) float32 of class numbers (B,). Raises TeacherError for a class that the task does not have."""
    if bool((labels < 0).any()) or bool((labels >= classes).any()):
        raise TeacherError(f"the answer names class {int(labels.max())}, and there are {classes}")
    return LABEL_LOGIT * torch.nn.functional.one_hot(labels, classes).float()


def spread(places: Tensor, shares: Tensor, classes: int) -> Tensor:
    """Probabilities (B, K) float64 where only the likeliest are known: places (B, k) int64, shares (B, k). What is left
    is shared out evenly among the others."""
    others = classes - places.shape[1]
    left = (1 - shares.double().sum(1, keepdim=True)).clamp_min(0)
    whole = (left / max(1, others)).expand(-1, classes).clone()
    return whole.scatter_(1, places, shares.double())
