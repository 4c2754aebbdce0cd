"""What a network costs, counted and not timed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .modes import fixed
from .taps import execution_order


def multiply_adds(module: nn.Module, shape: Sequence[int]) -> int:
    """Multiply-adds of convolutions and linear layers for one input of the given shape (without batch)."""
    weight = next((p for p in module.parameters()), None)
    probe = torch.zeros(2, *shape, device=weight.device if weight is not None else None)
    with fixed(module):
        ran = execution_order(module, probe, lambda part: isinstance(part, (nn.Conv2d, nn.Linear)))
    return sum(_layer_cost(module.get_submodule(path), output) for path, output in ran)


def _layer_cost(layer: nn.Module, output: Tensor) -> int:
    per_output = layer.weight[0].numel()  # type: ignore[index]
    return per_output * output[0].numel()
