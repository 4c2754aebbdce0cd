"""Feature alignment between a student's and a teacher's inner tensors, (B, C, H, W) or (B, D)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def hint(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error per sample of tensors of one shape (FitNets, eq. 3; the student's already regressed)."""
    return (student.float() - teacher.float()).flatten(1).square().mean(1)


def pooled_hint(student: Tensor, teacher: Tensor) -> Tensor:
    """`hint` of maps (B, C, H, W) with equal C, the larger first averaged to the smaller's size (SimKD; KD3)."""
    size = (min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3]))
    if student.shape[2:] != size:
        student = F.adaptive_avg_pool2d(student.float(), size)
    if teacher.shape[2:] != size:
        teacher = F.adaptive_avg_pool2d(teacher.float(), size)
    return hint(student, teacher)


def attention_map(features: Tensor) -> Tensor:
    """(B, H*W): mean over channels of the squared features, L2-normalised."""
    return F.normalize(features.float().square().mean(1).flatten(1), dim=1)


def attention_transfer(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of attention maps, per sample (ZSKT, eq. 3, element mean as released).

    Maps of different size are pooled to the smaller one.
    """
    if student.shape[2:] != teacher.shape[2:]:
        size = (min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3]))
        student, teacher = F.adaptive_avg_pool2d(student, size), F.adaptive_avg_pool2d(teacher, size)
    return (attention_map(student) - attention_map(teacher)).square().mean(1)
