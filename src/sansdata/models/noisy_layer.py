"""Class embeddings and the noisy layer that turns them into latents (NAYER, Tran et al. 2024)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..arithmetic import ceil_div


class NoisyLayer(nn.Module):
    """Labels -> latents: constant class embeddings, BatchNorm, and linear layers whose weights are the randomness.

    embeddings (K, D), batch B, latent Z: labels (B,) int64 -> latents (B, Z). One linear layer serves K consecutive
    samples, so there are ceil(B / K) of them; with labels in class order a layer sees every class once.
    """

    embeddings: Tensor

    def __init__(self, embeddings: Tensor, batch: int, latent: int) -> None:
        super().__init__()
        classes, size = embeddings.shape
        self.share = classes
        layers = ceil_div(batch, classes)
        self.register_buffer("embeddings", embeddings.float())
        self.norm = nn.BatchNorm1d(size)
        self.weight = nn.Parameter(torch.zeros(layers, size, latent))
        self.bias = nn.Parameter(torch.zeros(layers, latent))

    def redraw(self, generator: torch.Generator) -> None:
        """Weights N(0, 1) from a CPU generator, biases 0; the BatchNorm stays as it is."""
        with torch.no_grad():
            self.weight.copy_(torch.randn(self.weight.shape, generator=generator))
            self.bias.zero_()

    def forward(self, labels: Tensor) -> Tensor:
        codes = self.norm(self.embeddings[labels])
        empty = len(self.weight) * self.share - len(codes)  # places that the last layer has to spare
        groups = nn.functional.pad(codes, (0, 0, 0, empty)).unflatten(0, (len(self.weight), self.share))
        return torch.baddbmm(self.bias[:, None], groups, self.weight).flatten(0, 1)[: len(codes)]


def orthonormal(classes: int, size: int, generator: torch.Generator) -> Tensor:
    """(classes, size) rows of length 1 at right angles, in directions drawn at random; size at least classes."""
    drawn = torch.randn(size, classes, generator=generator, dtype=torch.float64)
    return torch.linalg.qr(drawn).Q.T.float().contiguous()
