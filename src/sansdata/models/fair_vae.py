"""The variational autoencoder of FairDisCo (Liu et al., KDD 2022) for rows whose columns are one-hot: both halves see
the group, so that the latent between them need not hold it.

Deviation: the released code, and that of FLDGM, takes the class out of the rows; here it is their last column.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LOGVAR = (-12.0, 8.0)
"""Deviation: the released code does not bound the log-variance, whose exponential then overflows."""


class FairVAE(nn.Module):
    """Rows (B, X) and groups (B, G), one-hot, -> a Gaussian latent (B, Z) -> logits (B, X), a softmax for each
    column."""

    def __init__(self, features: int, groups: int, latent: int = 8, hidden: int = 64) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(features + groups, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent)
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(latent + groups, hidden), nn.ReLU(), nn.Linear(hidden, features)
        )  # fmt: skip

    def encode(self, rows: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latent, both (B, Z)."""
        mean, logvar = self.encoder(torch.cat([rows, groups], 1)).chunk(2, 1)
        return mean, logvar.clamp(*LOGVAR)

    def decode(self, latents: Tensor, groups: Tensor) -> Tensor:
        """Logits (B, X)."""
        return self.decoder(torch.cat([latents, groups], 1))
