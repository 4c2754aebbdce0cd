"""Which images of a pool KD3 teaches: who decides, and thresholds that rise with how often a class is seen."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def teachers_share(epoch: int, epochs: int) -> float:
    """alpha_e, the teacher's weight, 0..1, when teacher and student judge an image together (KD3, released).

    epoch: e, from 1. 1 - exp(-5 ((e + 1) / (2/3 E) - 1)^2) before the middle of the run, from there on 0: the student
    decides alone. Released for E = 240 epochs, with 160 and 120 in the places of 2/3 E and 1/2 E.

    Deviation: the first epoch is never the student's alone, which has learned nothing yet; the release has 240 epochs.
    """
    if epoch > 1 and epoch >= epochs / 2:
        return 0.0
    return 1 - math.exp(-5 * ((epoch + 1) / (2 / 3 * epochs) - 1) ** 2)


def class_thresholds(decisions: Tensor, classes: int, base: float, floor: float = 0.0) -> Tensor:
    """(K,) tau_c = base * b_c / (2 - b_c), b_c = count(c) / the largest count (FlexMatch, the convex map).

    decisions: (N,) int64. A class that nobody decides for gets `floor`, as does any that would lie below it.
    """
    counts = torch.bincount(decisions, minlength=classes).double()
    share = counts / counts.max().clamp_min(1)
    return (base * share / (2 - share)).clamp_min(floor).float()


def confident(probabilities: Tensor, base: float, floor: float = 0.0) -> Tensor:
    """(N,) bool: whose highest probability exceeds the threshold of its class. probabilities: (N, K)."""
    highest, decisions = probabilities.max(1)
    return highest > class_thresholds(decisions, probabilities.shape[1], base, floor).to(highest.device)[decisions]
