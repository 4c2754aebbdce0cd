"""A student with a projection of its features beside its logits, for a contrast that only training needs."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .taps import forward

PROJECTED = "projection"
"""The tap that gives the projected features."""


class WithPart(nn.Module):
    """Images (B, C, H, W), normalised -> the student's logits (B, K); a part beside it runs with it.

    The tap `name` gives what the part makes of the student's tap `reads`, or of its logits. All other taps are the
    student's own paths.
    """

    def __init__(self, student: nn.Module, name: str, part: nn.Module, reads: str | None = None) -> None:
        super().__init__()
        self.student, self.part, self.name, self.reads = student, part, name, reads

    def get_submodule(self, target: str) -> nn.Module:
        return self.part if target == self.name else self.student.get_submodule(target)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = forward(self.student, inputs, () if self.reads is None else (self.reads,))
        self.part(outputs.logits if self.reads is None else outputs.taps[self.reads])
        return outputs.logits


class WithProjection(nn.Module):
    """Images (B, C, H, W), normalised -> the student's logits (B, K).

    The tap PROJECTED gives (B, P): the input of the student's last linear layer `head` through a two-layer perceptron,
    each row of length 1 (SimCLR's projection head, Chen et al. 2020). All other taps are the student's own paths.
    """

    def __init__(self, student: nn.Module, head: str, hidden: int, size: int) -> None:
        """head: path of a linear layer of `student`. hidden, size: of the perceptron."""
        super().__init__()
        self.student, self.features = student, f"{head}:input"
        width = student.get_submodule(head).in_features
        self.projection = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, size), _Unit())  # type: ignore[arg-type]

    def get_submodule(self, target: str) -> nn.Module:
        return self.projection if target == PROJECTED else self.student.get_submodule(target)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = forward(self.student, inputs, (self.features,))
        self.projection(outputs.taps[self.features])
        return outputs.logits


class Embedding(nn.Module):
    """(B, C, H, W) or (B, D) -> (B, size): the means over positions, linearly, each row of length 1."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, size)

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.linear(x.float().flatten(2).mean(2) if x.ndim > 2 else x.float()), dim=1)


class _Unit(nn.Module):
    """Rows of length 1."""

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x.float(), dim=1)
