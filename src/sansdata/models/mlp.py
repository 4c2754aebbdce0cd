"""Perceptrons for rows of a table, and from noise to vectors."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class MLP(nn.Module):
    """Rows (B, F) as their door gives them -> logits (B, K). Each hidden layer is followed by BatchNorm and ReLU.

    BatchNorm keeps the features of very different columns comparable, and remembers statistics that later methods read.
    """

    def __init__(self, features: int, classes: int, widths: Sequence[int] = (128, 128)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in zip([features, *widths], widths):
            layers.append(nn.Sequential(nn.Linear(before, width), nn.BatchNorm1d(width), nn.ReLU()))
        self.hidden = nn.Sequential(*layers)
        self.head = nn.Linear([features, *widths][-1], classes)

    def forward(self, rows: Tensor) -> Tensor:
        return self.head(self.hidden(rows))


class VectorMLP(nn.Module):
    """Noise (B, ...) -> vectors (B, Z), by hidden layers with ReLU. No BatchNorm: what a generator draws must not
    hang on the other draws of a batch."""

    def __init__(self, features: int, size: int, widths: Sequence[int] = (32, 32)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in zip([features, *widths], widths):
            layers += [nn.Linear(before, width), nn.ReLU()]
        self.hidden = nn.Sequential(*layers)
        self.head = nn.Linear([features, *widths][-1], size)

    def forward(self, noise: Tensor) -> Tensor:
        return self.head(self.hidden(noise.flatten(1)))
