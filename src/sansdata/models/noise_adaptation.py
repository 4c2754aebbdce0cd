"""What a wrong label may have been: a matrix of transitions, learned with the student (DFND, Chen et al. 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class NoiseAdaptation(nn.Module):
    """Logits (B, K) of the true class -> (B, K) log-probabilities of the noisy label: log(softmax(logits) Q).

    Q[i, i] is `accuracy`; the rest of row i, 1 - accuracy in sum, is learned, evenly spread at first.
    """

    def __init__(self, classes: int, accuracy: float) -> None:
        super().__init__()
        self.accuracy = accuracy
        self.off_diagonal = nn.Parameter(torch.zeros(classes, classes))
        self.register_buffer("own", torch.eye(classes, dtype=torch.bool), persistent=False)

    def transitions(self) -> Tensor:
        """Q (K, K): rows sum to 1."""
        own: Tensor = self.own  # type: ignore[assignment]
        others = F.softmax(self.off_diagonal.masked_fill(own, -torch.inf), dim=1)
        return (1 - self.accuracy) * others + self.accuracy * own

    def forward(self, logits: Tensor) -> Tensor:
        noisy = F.softmax(logits.to(self.off_diagonal), dim=1) @ self.transitions()
        return noisy.clamp_min(torch.finfo(noisy.dtype).tiny).log()
