"""Weights drawn anew in place: for generators that are thrown away while their optimiser and files stay."""

from __future__ import annotations

from torch import nn


def draw_normal(module: nn.Module, std: float = 0.02) -> None:
    """Weights N(0, std), those of BatchNorm N(1, std), biases 0, no running statistics: the lineage's `reset_model`.

    In place, from the global generator of randomness.
    """
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Conv2d)):
            nn.init.normal_(part.weight, 0.0, std)
        elif isinstance(part, nn.BatchNorm2d):
            part.reset_running_stats()
            if part.weight is not None:
                nn.init.normal_(part.weight, 1.0, std)
        else:
            continue
        if part.bias is not None:
            nn.init.zeros_(part.bias)


def draw_default(module: nn.Module) -> None:
    """What the layers of `module` would have had when it was made. In place, from the global generator."""
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d)):
            part.reset_parameters()
