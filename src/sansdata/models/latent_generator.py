"""Features by class: a generator of what enters a network's last layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LatentGenerator(nn.Module):
    """noise (B, E) and labels (B,) -> latents (B, D). Linear, BatchNorm, ReLU, Linear (FedGen, released code).

    Latents are not bounded; weight decay is what keeps them near.
    """

    def __init__(self, noise: int, classes: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.classes = classes
        self.hidden = nn.Linear(noise + classes, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.out = nn.Linear(hidden, latent)

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        given = torch.cat([noise, F.one_hot(labels, self.classes).to(noise.dtype)], 1)
        return self.out(F.relu(self.norm(self.hidden(given))))
