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


def draw_everything(module: nn.Module) -> None:
    """Every weight of `module` drawn as its layer draws it, and N(0, 0.02) where no layer says how (class tokens).

    Nothing of what was learnt stays, running statistics included. In place, from the global generator.
    """
    for part in module.modules():
        reset = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()
        else:
            for parameter in part.parameters(recurse=False):
                nn.init.normal_(parameter, std=0.02)
