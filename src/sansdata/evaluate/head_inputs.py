"""What enters a teacher's last layer: the space in which audits and validations say how near inputs lie."""

from __future__ import annotations

import numpy as np
import torch

from .. import columns
from ..columns import Inputs
from ..contracts import Access
from ..kinds.index import input_kind
from ..teachers.base import Teacher

BATCH = 256


def head_inputs(teacher: Teacher, packed: Inputs) -> np.ndarray | None:
    """(N, D) float64, of inputs as their kind stores them; None where nobody may look into the teacher, or it has no
    last layer with weights."""
    head = teacher.inside.head if teacher.access >= Access.WEIGHTS else None
    if head is None:
        return None
    kind, tap = input_kind(teacher.task), f"{head}:input"
    with torch.no_grad():
        parts = [teacher(kind.unpack(part), [tap]).taps[tap] for part in columns.split(packed, BATCH)]
    return torch.cat([part.flatten(1).float().cpu() for part in parts]).double().numpy()
